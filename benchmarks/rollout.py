"""Episodes per second: the kit's rollout against TRL's own tool loop (`environment_factory`), in one run.

    python benchmarks/rollout.py [--rows 128] [--group 8] [--threads 2]

Same model, questions, prompts, tools, temperature, message limit and token budget; the same environment
answers both. TRL's loop is TRL's: batched generation turn by turn, tools one after the other, the whole
context computed anew each turn. Only the spelling of prompts and tool results is replaced by the kit's, so
that both see the same tokens. Timed is the generation of episodes, not TRL's log-probabilities and updates.
Prints the ratio, also of the processor's seconds: on a machine that does other work at the same time, trust
that one.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

import torch
import trl
from datasets import Dataset
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast
from trl import GRPOConfig, GRPOTrainer

from mtsql_lib.dialogues import find_split, questions, read_dialogues
from mtsql_lib.engines import Engine, TransformersEngine
from mtsql_lib.environment import Environment, Episode
from mtsql_lib.executor import Executor
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.protocol import compose, parse_message
from mtsql_lib.rollout import rollout, row_seed
from mtsql_lib.schema import read_schema
from mtsql_lib.tokens import load_codec

MESSAGES = 6


class Bench:
    """What both sides share: corpus, model and codec."""

    def __init__(self, options: argparse.Namespace):
        self.options = options
        asked = questions(read_dialogues(find_split(options.data / options.corpus, "train")))
        self.questions = {q.id: q for q in asked[:: max(len(asked) * options.group // options.rows, 1)]}
        self.questions = dict(list(self.questions.items())[: options.rows // options.group])
        self.codec = load_codec(options.model)
        # a cache of results would let the second side find the first one's work
        self.executor = Executor(options.data / "database", cache_size=0)

    def model(self):
        """A fresh copy of the model."""
        return AutoModelForCausalLM.from_pretrained(self.options.model, dtype=torch.float32)

    def environment(self, question_id: str) -> Environment:
        """A fresh environment for a question."""
        question = self.questions[question_id]
        schema = read_schema(self.options.data / "database", question.database_id)
        memory = DialogueMemory(question, self.executor)
        return Environment(question, schema, self.executor, memory, message_limit=MESSAGES)

    def rows(self) -> list[dict]:
        """The data set of TRL's trainer: a row a question."""
        return [{"prompt": [{"role": "user", "content": n}], "question_id": n} for n in self.questions]

    def config(self, folder: str, **changes: object) -> GRPOConfig:
        """TRL's settings for one update on each batch of rollouts; `changes` are fields of GRPOConfig."""
        settings = {
            "output_dir": folder,
            "per_device_train_batch_size": self.options.rows,
            "num_generations": self.options.group,
            "max_completion_length": self.options.tokens,
            "max_tool_calling_iterations": MESSAGES - 1,
            "temperature": 1.0,
            "beta": 0.0,
            "use_cpu": True,
            "bf16": False,
            "gradient_checkpointing": False,
            "report_to": [],
        }
        return GRPOConfig(**{**settings, **changes})


class Clock:
    """Adds up wall and processor seconds of the blocks that it is entered for."""

    wall, processor = 0.0, 0.0

    def __enter__(self) -> None:
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_) -> None:
        self.wall += time.perf_counter() - self._start[0]
        self.processor += time.process_time() - self._start[1]


def kit(bench: Bench, runs: int) -> tuple[int, int, Clock]:
    """Episodes, sampled tokens and time of the kit's rollout; one short run warms up."""
    engine = TransformersEngine(bench.model(), bench.codec.end_of_turn, slots=bench.options.rows)
    names = [name for name in bench.questions for _ in range(bench.options.group)]
    play(bench, engine, names[:16], 0)
    clock = Clock()
    with clock:
        episodes = [e for seed in range(1, runs + 1) for e in play(bench, engine, names, seed)]
    return len(episodes), sum(sum(episode.mask()) for episode in episodes), clock


def play(bench: Bench, engine: Engine, names: list[str], seed: int) -> list[Episode]:
    """The kit's episodes of the named questions, in order."""
    return rollout(
        engine,
        bench.codec,
        [bench.environment(name) for name in names],
        temperature=1.0,
        seeds=[row_seed(seed, name, n) for n, name in enumerate(names)],
        max_message_tokens=bench.options.tokens,
        max_episode_tokens=bench.options.tokens,
    )


def trl_loop(bench: Bench, runs: int) -> tuple[int, int, Clock]:
    """The same by TRL's GRPOTrainer, which is asked for batches and never trained; a small one warms up."""

    class Timed(SpelledGRPO):
        """Times `_generate`, TRL's whole loop."""

        clock, episodes, sampled = Clock(), 0, 0

        def _generate(self, prompts):
            with self.clock:
                result = super()._generate(prompts)
            self.episodes += len(result[1])
            self.sampled += sum(map(sum, result[2]))
            return result

    with tempfile.TemporaryDirectory() as folder:
        trainer = Timed(
            bench, bench.config(folder), lambda completions, **_: [n % 2.0 for n in range(len(completions))]
        )
        batch = [row for row in bench.rows() for _ in range(bench.options.group)]
        trainer._generate_and_score_completions(batch[:16])
        trainer.clock, trainer.episodes, trainer.sampled = Clock(), 0, 0
        for _ in range(runs):
            trainer._generate_and_score_completions(batch)
    return trainer.episodes, trainer.sampled, trainer.clock


def tools(bench: Bench) -> type:
    """TRL's view of the environment: a class whose public methods are tools."""

    class Tools:
        def reset(self, question_id: str, **_) -> None:
            self._environment = bench.environment(question_id)

        def exec_sql(self, code: str) -> str:
            """Run a SELECT on the database.

            Args:
                code: the SQL
            """
            return self._call("exec_sql", code)

        def memory_retrieve(self, code: str) -> str:
            """Recall the earlier questions.

            Args:
                code: the SQL
            """
            return self._call("memory_retrieve", code)

        def _call(self, tool: str, code: str) -> str:
            return self._environment.step(compose(call=(tool, code))).text

    return Tools


class SpelledGRPO(GRPOTrainer):
    """TRL's trainer and tool loop; prompts and tool results are spelled with the codec."""

    def __init__(self, bench: Bench, config: GRPOConfig, reward):
        self._codec = bench.codec
        super().__init__(
            model=bench.model(),
            args=config,
            processing_class=adapter(bench),
            reward_funcs=reward,
            train_dataset=Dataset.from_list(bench.rows()),
            environment_factory=tools(bench),
        )

    def _tokenize_prompts(self, prompts):
        return [self._codec.encode(e._environment.prompt) for e in self.environments], None, {}

    def _get_tool_suffix_ids(self, tool_messages):
        return self._codec.encode(tool_messages[-1]["content"])


def adapter(bench: Bench) -> PreTrainedTokenizerFast:
    """A tokenizer that TRL accepts (with Qwen3's template word for word) and that reads with the codec."""

    class Adapter(PreTrainedTokenizerFast):
        def decode(self, ids, **_):
            return bench.codec.decode([int(i) for i in ids])

        def batch_decode(self, rows, **_):
            return [self.decode(row) for row in rows]

        def parse_response(self, ids, **_):
            text = self.decode(ids).removesuffix("<|im_end|>")
            calls = [
                {"type": "function", "function": {"name": c.tool or "?", "arguments": {"code": c.code}}}
                for c in parse_message(text).calls
            ]
            return {"role": "assistant", "content": text, "tool_calls": calls}

    tokenizer = Adapter.from_pretrained(bench.options.model)
    templates = Path(trl.__file__).parent / "chat_templates"
    tokenizer.chat_template = (templates / "qwen3.jinja").read_text()
    return tokenizer


def read_options(about: str, runs: int) -> argparse.Namespace:
    """The command line of this script and of `rl_step.py`; sets the number of threads and the seed."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=about, formatter_class=raw)
    parser.add_argument("--model", type=Path, default=Path("data/models/tiny"))
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder with corpora and database/")
    parser.add_argument("--corpus", default="steps")
    parser.add_argument("--rows", type=int, default=128, help="episodes in one batch")
    parser.add_argument("--group", type=int, default=8, help="episodes for each question")
    parser.add_argument("--tokens", type=int, default=256, help="ids of an episode after its prompt")
    parser.add_argument("--runs", type=int, default=runs, help="timed batches for each side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(f"{options.rows} episodes a batch, {options.group} a question, {options.threads} threads", end=", ")
    print(f"the weights of {options.model} on both sides", flush=True)
    return options


def main() -> None:
    bench = Bench(read_options(__doc__, runs=2))
    clocks = []
    for name, side in (("TRL tool loop", trl_loop), ("kit", kit)):
        episodes, sampled, clock = side(bench, bench.options.runs)
        clocks.append(clock)
        times = f"{clock.wall:.1f} s ({clock.processor:.1f} s of processor)"
        size = f"{episodes} episodes of {sampled / episodes:.0f} sampled tokens"
        print(f"{name:14} {size} in {times}: {60 * episodes / clock.wall:.0f} episodes a minute", flush=True)
    theirs, ours = clocks
    print(f"ratio {theirs.wall / ours.wall:.1f} (processor {theirs.processor / ours.processor:.1f})")


if __name__ == "__main__":
    main()
