"""The recipe of the tiny base model: every number of `make base`, printed on the model card."""

from __future__ import annotations

from dataclasses import dataclass

from mtsql_lib.base.transcripts import SKILLED, WEAK, Habits


@dataclass(frozen=True)
class Recipe:
    """What `make base` does, in order of size, length and curriculum."""

    vocabulary: int = 6500
    hidden: int = 256
    layers: int = 5
    heads: int = 4
    key_value_heads: int = 2
    feed_forward: int = 640
    head: int = 64
    rope_theta: float = 1e6  # as Qwen3: slow enough for places hundreds of tokens apart to match
    row_tokens: int = 768
    rows: int = 5
    steps: int = 26350
    warmup: int = 50
    decay_share: float = 0.4
    learning_rate: float = 3e-3
    stray: float = 1.0  # weight of the loss on tokens that stand nowhere in their row
    # databases are small at first: at most so many columns until these steps
    tiny_until: int = 150
    tiny_columns: int = 9
    small_until: int = 500
    small_columns: int = 16
    dialogues: int = 3  # on each database, where a row holds them
    plan_from: int = 2700  # step from which SQL is planned before it is written
    plan_only: float = 0.5  # of the direct answers then: SQL follows from the plan, so half of it is enough
    # invented words first, so that names are copied and not known; then fewer, so that words are known
    familiar_from: int = 3700
    strange: float = 0.6  # share of invented words that is left
    # first answering (every turn is answered directly), then acting: the share of turns acted as episodes
    early_agent_share: float = 0.1
    agent_from: int = 12000
    agent_share: float = 0.5
    own_share: float = 0.4  # of the databases, once there are own failures
    # steps at which fresh own failures are collected
    own_at: tuple[int, ...] = (
        12200,
        13500,
        14200,
        15200,
        16000,
        17000,
        18000,
        19000,
        19700,
        20700,
        21700,
        22700,
        23500,
        24300,
        25100,
    )
    own_dialogues: int = 500
    weak_from: int = 25800  # step from which the scripted agent's habits are the weak ones
    skilled: Habits = SKILLED
    weak: Habits = WEAK
