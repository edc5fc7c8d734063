"""From rewards to token advantages, on plain lists: `released` (one scalar an episode) and `per_action`
(each message its own).

`released` is what the authors' code does: the sum of all terms, minus the group's mean, over the group's
standard deviation (plus 1e-4), the same number for every sampled token. `per_action` keeps the outcome
advantage for every token and adds, on each message's tokens, a process advantage that is normalised over
the group's messages of the same kind and bounded: it is at most half of the outcome advantage, so it never
turns a right answer negative or a wrong one positive. A group without contrast in the outcome teaches
nothing and gets zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EPSILON = 1e-4
PROCESS_BOUND = 0.5  # of the outcome advantage


@dataclass(frozen=True)
class Action:
    """One assistant message for credit: its kind (only messages of one kind are compared; `actions.py` makes
    them), its process score or None, and its number of sampled tokens.
    """

    kind: str
    score: float | None
    tokens: int


def group_advantages(rewards: Sequence[float]) -> list[float]:
    """(reward - mean) / (std + 1e-4) with Bessel's correction, as TRL and verl; zeros where all are equal
    or alone.
    """
    count = len(rewards)
    mean = sum(rewards) / count
    if count < 2 or max(rewards) == min(rewards):
        return [0.0] * count
    deviation = (sum((r - mean) ** 2 for r in rewards) / (count - 1)) ** 0.5
    return [(r - mean) / (deviation + EPSILON) for r in rewards]


def released(rewards: Sequence[float], tokens: Sequence[int]) -> list[list[float]]:
    """One scalar an episode on each of its sampled tokens; `tokens[i]` counts them. Returns a ragged
    (episodes, tokens) list.
    """
    return [[advantage] * count for advantage, count in zip(group_advantages(rewards), tokens, strict=True)]


def per_action(outcomes: Sequence[float], episodes: Sequence[Sequence[Action]]) -> list[list[float]]:
    """Outcome advantage plus bounded process advantage, per sampled token of one group. Returns a ragged
    (episodes, tokens) list.
    """
    base = group_advantages(outcomes)
    process = _process_advantages(episodes)
    rows = []
    for advantage, actions, extras in zip(base, episodes, process, strict=True):
        row: list[float] = []
        for action, extra in zip(actions, extras, strict=True):
            bounded = max(-1.0, min(1.0, extra)) * PROCESS_BOUND * abs(advantage)
            row += [advantage + bounded] * action.tokens
        rows.append(row)
    return rows


def _process_advantages(episodes: Sequence[Sequence[Action]]) -> list[list[float]]:
    """Scores normalised over all scored actions of the same kind in the group; 0 for actions that are not
    scored.
    """
    kinds = {action.kind for actions in episodes for action in actions if action.score is not None}
    normal: dict[tuple[int, int], float] = {}
    for kind in kinds:
        places = [
            (e, a) for e, actions in enumerate(episodes) for a, action in enumerate(actions)
            if action.kind == kind and action.score is not None
        ]  # fmt: skip
        values = group_advantages([episodes[e][a].score for e, a in places])
        normal |= dict(zip(places, values, strict=True))
    return [[normal.get((e, a), 0.0) for a in range(len(actions))] for e, actions in enumerate(episodes)]
