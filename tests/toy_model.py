"""A random two-layer Qwen3 with a spelled tokenizer, and hand-made episodes: what trainers are tested on."""

import hashlib
from pathlib import Path

import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from mtsql_lib.config import Profile
from mtsql_lib.credit import Action, per_action, released
from mtsql_lib.environment import Episode, Step
from mtsql_lib.ledger import Played
from mtsql_lib.protocol import END_OF_TURN
from mtsql_lib.tokens import load_codec, train_spelled_tokenizer

SENTENCES = ["how many ships are there", "list the names of all ports", "SELECT name FROM port WHERE x = 3"]
SQL = "SELECT name FROM port WHERE x = %d"
CALL = 'I look.\n<tool_call>\n{"name": "exec_sql", "arguments": {"code": "' + SQL + '"}}\n</tool_call>'
RESULT = "\n<|im_start|>user\n<tool_response>\n%s\n</tool_response><|im_end|>\n<|im_start|>assistant\n"


def make_base(folder: Path) -> Path:
    """A model folder like the kit's base, with weights far from zero so that every token's logits differ."""
    codec = train_spelled_tokenizer(SENTENCES, 600, folder)
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=codec.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=32,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        initializer_range=0.1,
        eos_token_id=codec.end_of_turn,
        pad_token_id=codec.pad,
    )
    Qwen3ForCausalLM(config).save_pretrained(folder)
    return folder


def episode(codec, question: str, sample: int = 0, calls: int = 1, stop: str = "answer") -> Episode:
    """An episode of `calls` tool calls and an answer; lengths differ with question and sample."""
    prompt = f"<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    texts = [CALL % (sample + n) for n in range(calls)] + [
        "<answer_sql>SELECT name FROM port" + " , x" * sample + "</answer_sql>"
    ]
    steps = []
    for n, text in enumerate(texts):
        seen = RESULT % f"{n + sample} rows: oslo" if n < calls else ""
        ids = codec.encode(text + END_OF_TURN)
        if stop == "length" and n == calls:
            ids = ids[:-3]
        steps.append(Step(text, tuple(ids), (), seen, tuple(codec.encode(seen)) if seen else ()))
    answer = None if stop == "length" else "SELECT 1"
    return Episode(
        question, sample, "agent", prompt, tuple(codec.encode(prompt)), tuple(steps), (), (), answer, stop
    )


class ToyPlay:
    """Episodes and rewards by question, sample and step alone; every third group has no contrast."""

    def __init__(self, base: Path, group_size: int, credit: str = "released"):
        self.codec, self.group_size, self.credit = load_codec(base), group_size, credit

    def __call__(self, model, questions: list[str], step: int) -> Played:
        episodes, rewards, advantages = [], [], []
        for question in questions:
            number = int(question.rsplit(" ", 1)[1]) + 2 * step
            group = [episode(self.codec, question, s, calls=(s + number) % 3) for s in range(self.group_size)]
            scores = [
                float(s == number % self.group_size) if number % 3 else 1.0 for s in range(self.group_size)
            ]
            episodes, rewards = episodes + group, rewards + scores
            advantages += self.shares(group, scores)
        return Played(episodes, rewards, advantages)

    def shares(self, group: list[Episode], scores: list[float]) -> list[list[float]]:
        if self.credit == "released":
            return released(scores, [sum(e.mask()) for e in group])
        actions = [
            [Action("say", (len(step.ids) + e.sample) % 3 / 2, len(step.ids)) for step in e.steps]
            for e in group
        ]
        return per_action(scores, actions)


def toy_profile(**changes) -> Profile:
    """The smoke profile with small batches."""
    small = {
        "rl.prompts_per_step": 2,
        "rl.group_size": 3,
        "rl.save_every": 1,
        "rl.learning_rate": 0.01,
        "sft.batch_size": 2,
        "sft.learning_rate": 0.01,
        "rollout.max_tokens": 64,
        "rollout.max_episode_tokens": 250,
        "threads": 1,
    }
    return Profile.load("smoke", **{**small, **changes})


def questions(count: int) -> list[str]:
    return [f"how many ships{' are there in' * (n % 3)} port {n + 1}" for n in range(count)]


def sha(folder: Path) -> str:
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()
