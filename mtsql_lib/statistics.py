"""Intervals that know that the turns of a dialogue are not independent: the cluster bootstrap over dialogues.

Whole dialogues are drawn with replacement, and the percentiles of the drawn means are the interval (Efron
and Tibshirani 1993, chapter 13; Field and Welsh 2007 for clusters). A comparison is paired: both models
answer the same questions, and the differences are averaged.

Three training seeds are too few to be drawn with replacement: where the luck of training is all there is,
such an interval holds the truth in three of four cases (it reaches from the worst seed to the best). So the
two sources of error are added, dialogues by bootstrap and seeds by their own spread, and the interval is
Student's t with Satterthwaite's degrees of freedom.

What was left out: p-values, and corrections for many comparisons; a claim is stated before it is tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate in per cent with its 95 % interval; for a difference, `shown` says that it excludes 0."""

    estimate: float
    low: float
    high: float

    @property
    def shown(self) -> bool:
        """True if the interval lies wholly on one side of 0."""
        return self.low > 0 or self.high < 0

    def __str__(self) -> str:
        known = np.isfinite(self.low) and np.isfinite(self.high)
        return f"{self.estimate:.1f} " + (f"[{self.low:.1f}, {self.high:.1f}]" if known else "[no interval]")


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean of `values` in per cent; `clusters` names the dialogue of each value.

    Turns weigh alike, so a long dialogue weighs more. From one dialogue alone no interval is known: it is
    infinite. Raises ValueError without values or where the lengths differ.
    """
    sums, counts = _by_cluster(values, clusters)
    estimate = 100 * float(sums.sum() / counts.sum())
    if len(sums) == 1:
        return Interval(estimate, -np.inf, np.inf)
    drawn = np.random.default_rng(seed).integers(0, len(sums), (draws, len(sums)))
    means = 100 * sums[drawn].sum(1) / counts[drawn].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(estimate, float(low), float(high))


def paired_interval(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean of second - first in percentage points, for the same questions in the same order."""
    if len(first) != len(second):
        raise ValueError(f"paired values of different length: {len(first)} and {len(second)}")
    return mean_interval([b - a for a, b in zip(first, second, strict=True)], clusters, draws, seed)


@dataclass(frozen=True)
class Spread:
    """An estimate with its standard error and the degrees of freedom of that error."""

    estimate: float
    error: float
    freedom: float

    def interval(self, outside: float = 0.05) -> Interval:
        """The interval that misses the truth with probability `outside`."""
        half = t_quantile(1 - outside / 2, self.freedom) * self.error
        return Interval(self.estimate, self.estimate - half, self.estimate + half)


def over_seeds(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    clusters: Sequence[str],
    seeds: int,
    draws: int = 2000,
    seed: int = 0,
) -> Spread:
    """Any statistic with its error over dialogues and training seeds, on the statistic's own scale.

    `statistic` gets weights of the questions (Q,) and of the seeds (seeds,), both of ones for the estimate.
    The error of the dialogues is that of the bootstrap with all seeds, the error of training the spread of
    the statistic over single seeds (0 for one seed, of whose luck nothing is known); what a seed does to
    single dialogues is in both, so the sum errs on the safe side. Draws where the statistic is not defined
    (nan) are left out. Raises ValueError where it is not defined on all questions.
    """
    names = {name: n for n, name in enumerate(dict.fromkeys(clusters))}
    places = np.array([names[c] for c in clusters])
    everything, everyone = np.ones(len(clusters)), np.ones(seeds)
    estimate = statistic(everything, everyone)
    alone = [statistic(everything, one) for one in np.eye(seeds)]
    if np.isnan([estimate, *alone]).any():
        raise ValueError("the statistic is not defined on these questions")
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        dialogues = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
        found.append(statistic(dialogues[places].astype(float), everyone))
    asked = float(np.nanvar(found, ddof=1))
    trained = float(np.var(alone, ddof=1)) / seeds if seeds > 1 else 0.0
    error = asked + trained
    parts = asked**2 / max(len(names) - 1, 1) + trained**2 / max(seeds - 1, 1)
    return Spread(float(estimate), error**0.5, error**2 / parts if parts else 1.0)


def t_quantile(share: float, freedom: float) -> float:
    """Quantile of Student's t with `freedom` >= 1, to four digits, by its distribution over the angle
    arctan(t / sqrt(freedom)), whose density is a power of the cosine.
    """
    freedom = min(freedom, 1e4)  # the normal distribution from there on
    angles = np.linspace(-np.pi / 2, np.pi / 2, 200_001)
    steps = np.cos(angles[1:] - np.diff(angles) / 2).clip(0) ** (freedom - 1)
    reached = np.concatenate([[0.0], np.cumsum(steps)])
    return float(np.sqrt(freedom) * np.tan(np.interp(share * reached[-1], reached, angles)))


def _by_cluster(values: Sequence[float], clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of the values, (dialogues,) both."""
    if not clusters:
        raise ValueError("no values to average")
    if len(values) != len(clusters):
        raise ValueError(f"{len(values)} values for {len(clusters)} named dialogues")
    names = {name: n for n, name in enumerate(dict.fromkeys(clusters))}
    places = np.array([names[c] for c in clusters])
    sums = np.bincount(places, np.asarray(values, dtype=float), minlength=len(names))
    return sums, np.bincount(places, minlength=len(names)).astype(float)
