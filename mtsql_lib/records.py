"""A scored episode as a row of the store, and back."""

from __future__ import annotations

import json
from typing import Any

from mtsql_lib.dialogues import Question
from mtsql_lib.environment import Episode
from mtsql_lib.play import Scored
from mtsql_lib.rewards import RewardBreakdown
from mtsql_lib.scoring import Score

_TERMS = ("ex", "em", "propose", "execute", "memory")
_VERDICTS = ("ex", "em", "ex_strict", "em_strict")


def to_row(stage: str, scored: Scored, sample: int | None = None) -> dict[str, Any]:
    """One row of the table `episodes`; `sample` replaces the episode's own number."""
    episode, score, reward = scored.episode, scored.score, scored.reward
    text = episode.to_json()
    data = json.loads(text)
    return {
        "stage": stage,
        "question_id": episode.question_id,
        "sample": episode.sample if sample is None else sample,
        "database_id": scored.question.database_id,
        "turn": scored.question.turn,
        "mode": episode.mode,
        "stop": episode.stop,
        "answer": episode.answer,
        "messages": len(episode.steps),
        "calls": len(episode.log),
        "sampled_tokens": sum(len(step.ids) for step in episode.steps),
        "ids": json.dumps(episode.ids()),
        "mask": json.dumps(episode.mask()),
        "logprobs": json.dumps([round(p, 5) for step in episode.steps for p in step.logprobs]),
        "log": json.dumps(data["log"]),
        "verdicts": json.dumps(data["verdicts"]),
        "episode": text,
        "hardness": score.hardness,
        "status": score.status,
        **{name: int(getattr(score, name)) for name in _VERDICTS},
        **{f"reward_{name}": getattr(reward, name) for name in _TERMS},
        "reward_total": reward.total,
    }


def from_row(row: dict[str, Any], question: Question) -> Scored:
    """The inverse of `to_row`, for the question that the row names."""
    verdicts = {name: bool(row[name]) for name in _VERDICTS}
    score = Score(**verdicts, hardness=row["hardness"], parsed=True, status=row["status"])
    return Scored(
        question,
        Episode.from_json(row["episode"]),
        score,
        RewardBreakdown(*(row[f"reward_{name}"] for name in _TERMS)),
    )
