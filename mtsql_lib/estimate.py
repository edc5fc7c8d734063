"""What a run of a GPU profile takes in memory and hours, from formulas printed with their assumptions.

The idea: count tokens from the profile and the paper's figures, divide by what a card can do. Generation is
bound by memory bandwidth (weights and KV cache are read once a step), training by arithmetic (8 operations a
weight and token: forward, backward, and the forward again that checkpointing costs). Expect the truth within
a factor of two. Left out: loading, SQL (which hides behind generation), and more cards than one, as the kit
uses one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from mtsql_lib.config import Profile
from mtsql_lib.systems import SYSTEMS

PROMPT_TOKENS = 1500  # schema, instructions and earlier questions in the full templates
LONGEST_PROMPT = 4_000  # the paper allows as much
RESPONSE_TOKENS = 2300  # sampled and observed; the paper's curves lie between 2,070 and 2,660
POOL = (1.0, 0.32, 0.21)  # share of questions still unsolved before each round (paper, CoSQL)
KEPT = 2.6  # trajectories a covered question (paper: 19,416 of 7,555)
TURNS = {"cosql": 7343, "sparc": 9025}  # training turns of the public corpora
TEST_TURNS = {"cosql": 1007, "sparc": 1203}
KNOWN = {
    "Qwen3-1.7B": (28, 2048, 16, 8, 128, 6144, 151936),
    "Qwen3-4B": (36, 2560, 32, 8, 128, 9728, 151936),
}


@dataclass(frozen=True)
class Shape:
    """A Qwen3 model with tied embeddings."""

    layers: int
    hidden: int
    heads: int
    key_value_heads: int
    head: int
    feed_forward: int
    vocabulary: int

    @property
    def parameters(self) -> float:
        """Weights, the embedding counted once."""
        attention = 2 * self.hidden * self.head * (self.heads + self.key_value_heads)
        return self.layers * (attention + 3 * self.hidden * self.feed_forward) + self.vocabulary * self.hidden

    @property
    def cache_bytes(self) -> float:
        """Bytes of KV cache a token, in bfloat16."""
        return self.layers * 2 * self.key_value_heads * self.head * 2


@dataclass(frozen=True)
class Card:
    """The machine: one card; the default is an A100, of which the paper used a node of eight."""

    memory: float = 80e9
    arithmetic: float = 312e12  # operations a second in bfloat16
    bandwidth: float = 2.0e12  # bytes a second
    used_arithmetic: float = 0.35  # share of it that training reaches
    used_bandwidth: float = 0.5
    used_memory: float = 0.85


@dataclass(frozen=True)
class Estimate:
    """Gigabytes in training and in generation, and hours by stage."""

    parameters: float
    training_gb: float
    generation_gb: float
    rows: int
    hours: dict[str, float]
    card: Card

    @property
    def fits(self) -> bool:
        """The larger of the two fits the card."""
        return max(self.training_gb, self.generation_gb) * 1e9 <= self.card.memory

    def __str__(self) -> str:
        stages = ", ".join(f"{name} {hours:.0f} h" for name, hours in self.hours.items())
        total, memory = sum(self.hours.values()), self.card.memory / 1e9
        return (
            f"{self.parameters / 1e9:.2f} B weights; {self.training_gb:.0f} GB in training and "
            f"{self.generation_gb:.0f} GB to generate {self.rows} rows; {stages}; together {total:.0f} h on "
            f"one card of {memory:.0f} GB"
        )


ASSUMPTIONS = f"""\
  training: 16 bytes a weight (weights, gradients and Adam's two moments in float32; 4 more for the
  reference model where beta > 0), plus one longest episode: a saved hidden state a layer and logits twice
  in float32. Time: 8 operations a weight and token, at 35 % of
  312e12 a second.
  generation: the weights in bfloat16, the rest of 85 % of the memory for the KV cache of whole
  episodes. Time: one step reads the weights and half of each row's cache, at 50 % of 2.0e12 bytes a
  second.
  tokens: prompt {PROMPT_TOKENS}, response {RESPONSE_TOKENS}; unsolved before each round {POOL};
  {KEPT} trajectories a covered question; training turns {TURNS};
  {len(SYSTEMS)} systems are evaluated."""


def shape_of(model: str | Path) -> Shape | None:
    """The shape of a model folder, or of a known model by the folder's name; None if neither is there."""
    try:
        config = json.loads((Path(model) / "config.json").read_text(encoding="utf-8"))
        names = (
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "intermediate_size",
            "vocab_size",
        )
        return Shape(*(config[name] for name in names))
    except (OSError, ValueError, KeyError, TypeError):
        known = KNOWN.get(Path(model).name)
        return Shape(*known) if known else None


def estimate(profile: Profile, shape: Shape, card: Card | None = None) -> Estimate:
    """Memory and hours of all stages of a profile."""
    card = card or Card()
    training_gb, generation_gb, rows = _memory(profile, shape, card)
    return Estimate(
        shape.parameters, training_gb, generation_gb, rows, _hours(profile, shape, card, rows), card
    )


def _memory(profile: Profile, shape: Shape, card: Card) -> tuple[float, float, int]:
    longest = LONGEST_PROMPT + profile.rollout.max_episode_tokens
    trained = shape.parameters * (16 + 4 * (profile.rl.beta > 0))
    if profile.model.lora_rank:
        trained = shape.parameters * 2  # the adapters and their states are under 2 %
    episode = longest * (shape.layers * shape.hidden * 2 + shape.vocabulary * 4 * 2)
    weights = shape.parameters * 2
    room = card.memory * card.used_memory - weights
    rows = max(1, min(profile.rollout.batch_rows, int(room / (shape.cache_bytes * longest))))
    generating = weights + rows * shape.cache_bytes * longest
    return (trained + episode) / 1e9, generating / 1e9, rows


def _hours(profile: Profile, shape: Shape, card: Card, rows: int) -> dict[str, float]:
    turns = TURNS.get(profile.data.train, 0)
    read = shape.parameters * 2 + rows * shape.cache_bytes * (PROMPT_TOKENS + RESPONSE_TOKENS / 2)
    speed = rows / (read / (card.bandwidth * card.used_bandwidth))  # tokens a second

    def generating(episodes: float) -> float:
        return episodes * RESPONSE_TOKENS / speed / 3600

    def training(episodes: float, operations: int = 8) -> float:
        tokens = episodes * (PROMPT_TOKENS + RESPONSE_TOKENS)
        able = card.arithmetic * card.used_arithmetic
        return operations * shape.parameters * tokens / able / 3600

    rounds = range(profile.sampling.rounds)
    asked = sum(POOL[min(n, 2)] * (profile.sampling.questions or turns) for n in rounds)
    kept = sum((1 - POOL[min(n + 1, 2)]) * turns * KEPT for n in rounds) * profile.sft.epochs
    graded = (profile.curriculum.questions or turns) * profile.curriculum.samples
    played = sum(profile.rl.steps_per_bin) * profile.rl.prompts_per_step * profile.rl.group_size
    updates = played * (2 - profile.rl.process_from)  # the process arm branches off the outcome arm
    asked_in_tests = sum(profile.evaluation.questions or TEST_TURNS.get(c, 0) for c in profile.data.test)
    old = 2 + 2 * (profile.rl.beta > 0)  # log-probabilities of the sampling and of the reference model
    return {
        "sampling": generating(asked * profile.sampling.samples),
        "SFT": training(kept),
        "curriculum": generating(graded),
        "RL": generating(updates) + training(updates, 8 + old),
        "evaluation": generating(asked_in_tests * len(SYSTEMS)),
    }
