"""Seconds of an RL update: the kit's trainer and TRL's GRPOTrainer with `environment_factory`, in one run.

    python benchmarks/rl_step.py [--rows 128] [--group 8] [--threads 2]

Timed is the whole update, from the first prompt to the optimiser's step, on the same model, questions,
prompts, tools, temperature, caps and GRPO settings. Each side plays its own episodes; their lengths are what
the model writes. Both score every answer with the same judge. The advantages come from marks that alternate
in each group, so that every episode is trained on by both: otherwise the kit would gain from groups without
contrast, which it does not compute. `rollout.py` says what is replaced in TRL's loop. Prints the time by
phase (SQL is what the main thread waits for it; log-probs are the forward pass and the loss) and the ratio,
also of the processor's seconds: on a machine that does other work at the same time, trust that one.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from datasets import Dataset
from transformers import PrinterCallback, TrainerCallback

from mtsql_lib.credit import released
from mtsql_lib.engines import TransformersEngine
from mtsql_lib.ledger import Played
from mtsql_lib.protocol import answers_in
from mtsql_lib.scoring import Judge
from mtsql_lib.trainer import MultiTurnGRPO, load_tokenizer

shared = import_module("rollout")  # the script beside this one

QUIET = {"save_strategy": "no", "disable_tqdm": True, "logging_steps": 1, "dataloader_pin_memory": False}
PHASES = ("generation", "SQL", "judge", "log-probs", "backward", "rest")


class Phases:
    """Seconds by phase of the main thread; an inner phase is not counted in the outer one."""

    def __init__(self) -> None:
        self.wall, self.processor = Counter(), Counter()
        self._open, self._since = ["rest"], (time.perf_counter(), time.process_time())

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._charge()
        self._open.append(name)
        try:
            yield
        finally:
            self._charge()
            self._open.pop()

    def restart(self) -> None:
        """Forget what was measured so far."""
        self._charge()
        self.wall.clear()
        self.processor.clear()

    def stop(self) -> tuple[float, float]:
        """All wall and processor seconds since the restart."""
        self._charge()
        return self.wall.total(), self.processor.total()

    def _charge(self) -> None:
        now = time.perf_counter(), time.process_time()
        self.wall[self._open[-1]] += now[0] - self._since[0]
        self.processor[self._open[-1]] += now[1] - self._since[1]
        self._since = now


class Timed:
    """What of a GRPO update both trainers do in the same methods."""

    phases: Phases
    sampled = 0

    def training_step(self, *args, **kwargs):
        with self.phases("backward"):
            return super().training_step(*args, **kwargs)

    def _generate_and_score_completions(self, inputs):
        with self.phases("judge"):
            batch = super()._generate_and_score_completions(inputs)
        self.sampled = int((batch["completion_mask"] * batch["tool_mask"]).sum())
        return batch

    def _compute_loss(self, model, inputs):
        with self.phases("log-probs"):
            return super()._compute_loss(model, inputs)


class TimedTRL(Timed, shared.SpelledGRPO):
    """TRL's trainer and loop."""

    def _generate(self, prompts):
        with self.phases("SQL"):
            return super()._generate(prompts)

    def _generate_single_turn(self, *args, **kwargs):
        with self.phases("generation"):
            return super()._generate_single_turn(*args, **kwargs)


class TimedKit(Timed, MultiTurnGRPO):
    """The kit's trainer."""


class TimedEngine(TransformersEngine):
    """The kit's engine; what the rollout does outside of it is waiting for SQL, and reading."""

    phases: Phases

    @contextmanager
    def session(self, seeds, temperature: float, length: int):
        with super().session(seeds, temperature, length) as session:
            advance = session.advance
            session.advance = lambda: self._timed(advance)
            yield session

    def _timed(self, advance):
        with self.phases("generation"):
            return advance()


class Watch(TrainerCallback):
    """Sets the clock at the first timed update: the data loader stands ready then."""

    def __init__(self, phases: Phases):
        self.phases = phases

    def on_step_begin(self, args, state, control, **_):
        if state.global_step == 0:
            self.phases.restart()

    def on_step_end(self, args, state, control, **_):
        if state.global_step == state.max_steps:
            self.wall, self.processor = self.phases.stop()


def marks(bench, judge: Judge, names: list[str], answers: list[str]) -> list[float]:
    """Judge every answer, for the time that it takes; then 1 and 0 in turn."""
    for name, answer in zip(names, answers, strict=True):
        judge.score(bench.questions[name], answer)
    return [n % 2.0 for n in range(len(names))]


def kit(bench, folder: str, phases: Phases) -> TimedKit:
    """The kit's trainer, fed as its reinforcement stage feeds it."""
    judge, group = Judge(bench.options.data / "database"), bench.options.group

    def play(model, questions: list[str], step: int) -> Played:
        engine = TimedEngine(model, bench.codec.end_of_turn, slots=bench.options.rows)
        engine.phases = phases
        names = [name for name in questions for _ in range(group)]
        with phases("SQL"):
            episodes = shared.play(bench, engine, names, step)
        rewards = marks(bench, judge, names, [e.answer or "" for e in episodes])
        advantages = []
        for start in range(0, len(names), group):
            part = slice(start, start + group)
            advantages += released(rewards[part], [sum(e.mask()) for e in episodes[part]])
        return Played(episodes, rewards, advantages)

    dataset = Dataset.from_list([{"prompt": name} for name in bench.questions])
    tokenizer = load_tokenizer(bench.options.model)
    config = bench.config(folder, max_steps=bench.options.runs, **QUIET)
    return TimedKit(bench.model(), tokenizer, dataset, play, config)


def trl(bench, folder: str, phases: Phases) -> TimedTRL:
    """TRL's trainer with its own loop and one reward function."""
    judge = Judge(bench.options.data / "database")

    def reward(completions, question_id, **_) -> list[float]:
        answers = [(answers_in(messages[-1]["content"]) or [""])[-1] for messages in completions]
        return marks(bench, judge, question_id, answers)

    return TimedTRL(bench, bench.config(folder, max_steps=bench.options.runs, **QUIET), reward)


def measure(name: str, side, bench) -> Watch:
    """The time of a side's updates; a small batch that is played and not trained on warms up."""
    phases = Phases()
    with tempfile.TemporaryDirectory() as folder:
        trainer = side(bench, folder, phases)
        trainer.phases = phases
        trainer.remove_callback(PrinterCallback)
        watch = Watch(phases)
        trainer.add_callback(watch)
        trainer._generate_and_score_completions([trainer.train_dataset[0]] * bench.options.group)
        trainer.train()
    runs, rows = bench.options.runs, bench.options.rows
    times = f"{watch.wall / runs:.1f} s an update ({watch.processor / runs:.1f} s of processor)"
    print(f"{name:4} {times}, {rows} episodes of {trainer.sampled / rows:.0f} sampled tokens", flush=True)
    for unit, seconds in (("wall", phases.wall), ("processor", phases.processor)):
        shares = ", ".join(f"{phase} {seconds[phase] / seconds.total():.0%}" for phase in PHASES)
        print(f"     {unit}: {shares}", flush=True)
    return watch


def main() -> None:
    bench = shared.Bench(shared.read_options(__doc__, runs=1))
    theirs, ours = measure("TRL", trl, bench), measure("kit", kit, bench)
    print(f"ratio {theirs.wall / ours.wall:.1f} (processor {theirs.processor / ours.processor:.1f})")


if __name__ == "__main__":
    main()
