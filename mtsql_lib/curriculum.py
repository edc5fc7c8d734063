"""The curriculum: from easy to hard in bins, by the share of right answers among a question's samples.

Always solved questions leave (MTSQL-R1, stage 2), and so do those that were never solved: a group without a
right answer has no advantages. Whether the authors keep these is unknown; their hardest bin begins at 22 % of
the reward. Their thresholds between bins are unknown too, equal sizes are the kit's choice.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from mtsql_lib.errors import KitError


@dataclass(frozen=True)
class Bin:
    """One bin: its question ids and the mean success of its questions, in [0, 1]."""

    questions: tuple[str, ...]
    success: float

    def __str__(self) -> str:
        return f"{len(self.questions)} questions, solved at {100 * self.success:.0f} %"


def bins(success: dict[str, float], count: int = 3) -> list[Bin]:
    """The questions solved sometimes, in `count` bins of equal size (within one) by falling success rate,
    ties in the order given.

    Raises KitError if fewer questions are left than bins.
    """
    kept = [q for q, rate in success.items() if 0 < rate < 1]
    if len(kept) < count:
        raise KitError(
            f"{len(kept)} of {len(success)} questions are neither always nor never solved, too few for "
            f"{count} bins: measure more questions (curriculum.questions) or use fewer bins"
        )
    ranked = sorted(kept, key=lambda q: -success[q])
    edges = [round(len(ranked) * n / count) for n in range(count + 1)]
    parts = [ranked[low:high] for low, high in zip(edges, edges[1:], strict=False)]
    return [Bin(tuple(part), sum(success[q] for q in part) / len(part)) for part in parts]


def schedule(parts: Sequence[Bin], steps: Sequence[int], per_step: int, seed: str) -> list[str]:
    """The question ids of every update in order, `per_step` each: `steps[n]` updates on bin n, which is
    shuffled anew whenever it is used up. Raises ValueError unless there is one number of steps a bin."""
    rng = random.Random(seed)
    order: list[str] = []
    for part, count in zip(parts, steps, strict=True):
        wanted, queue = count * per_step, []
        while len(queue) < wanted:
            queue += rng.sample(part.questions, len(part.questions))
        order += queue[:wanted]
    return order
