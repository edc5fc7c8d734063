"""Intervals that know that the turns of a dialogue are not independent: the cluster bootstrap over dialogues.

Whole dialogues are drawn with replacement, and the percentiles of the drawn means are the interval (Efron
and Tibshirani 1993, chapter 13; Field and Welsh 2007 for clusters). A comparison is paired: both models
answer the same questions, and the differences are averaged. Over several training seeds, seeds are drawn too.

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
        return f"{self.estimate:.1f} [{self.low:.1f}, {self.high:.1f}]"


def mean_interval(
    values: Sequence[float], clusters: Sequence[str], draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean of `values` in per cent; `clusters` names the dialogue of each value.

    Turns weigh alike, so a long dialogue weighs more. From one dialogue alone no interval is known: it is
    infinite. Raises ValueError without values or where the lengths differ.
    """
    return seeds_interval([values], clusters, draws, seed)


def paired_interval(
    first: Sequence[float], second: Sequence[float], clusters: Sequence[str], draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean of second - first in percentage points, for the same questions in the same order."""
    if len(first) != len(second):
        raise ValueError(f"paired values of different length: {len(first)} and {len(second)}")
    return mean_interval([b - a for a, b in zip(first, second, strict=True)], clusters, draws, seed)


def seeds_interval(
    runs: Sequence[Sequence[float]], clusters: Sequence[str], draws: int = 2000, seed: int = 0
) -> Interval:
    """Mean over training seeds and questions, in per cent; `runs[k]` holds the values (or paired differences)
    of seed k for the same questions. Seeds and dialogues are both drawn, so the luck of training is part of
    the interval. With three seeds that part is still too narrow (by a fifth): look at the seeds one by one.
    """
    sums, counts = _by_cluster(runs, clusters)
    estimate = 100 * float(sums.sum() / counts.sum() / len(runs))
    if sums.shape[1] == 1:
        return Interval(estimate, -np.inf, np.inf)
    random = np.random.default_rng(seed)
    dialogues = random.integers(0, sums.shape[1], (draws, sums.shape[1]))
    chosen = random.integers(0, len(runs), (draws, len(runs)))
    weights = np.zeros((draws, len(runs)))
    np.add.at(weights, (np.arange(draws)[:, None], chosen), 1 / len(runs))
    totals = np.stack([run[dialogues].sum(1) for run in sums], 1)  # (draws, seeds)
    means = 100 * (weights * totals).sum(1) / counts[dialogues].sum(1)
    low, high = np.percentile(means, (2.5, 97.5))
    return Interval(estimate, float(low), float(high))


def resampled(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    clusters: Sequence[str],
    seeds: int,
    draws: int = 2000,
    seed: int = 0,
) -> Interval:
    """Any statistic with its bootstrap interval over dialogues and training seeds, on the statistic's scale.

    `statistic` gets weights of the questions (Q,) and of the seeds (seeds,), both of ones for the estimate.
    Draws where it is not defined (nan) are left out; raises ValueError if the estimate is not defined.
    """
    names = {name: n for n, name in enumerate(dict.fromkeys(clusters))}
    places = np.array([names[c] for c in clusters])
    estimate = statistic(np.ones(len(clusters)), np.ones(seeds))
    if np.isnan(estimate):
        raise ValueError("the statistic is not defined on these questions")
    random = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        dialogues = np.bincount(random.integers(0, len(names), len(names)), minlength=len(names))
        chosen = np.bincount(random.integers(0, seeds, seeds), minlength=seeds)
        found.append(statistic(dialogues[places].astype(float), chosen.astype(float)))
    low, high = np.nanpercentile(found, (2.5, 97.5))
    return Interval(float(estimate), float(low), float(high))


def _by_cluster(runs: Sequence[Sequence[float]], clusters: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Sums (seeds, dialogues) and counts (dialogues,) of the values."""
    if not runs or not clusters:
        raise ValueError("no values to average")
    if any(len(values) != len(clusters) for values in runs):
        raise ValueError(f"{[len(values) for values in runs]} values for {len(clusters)} named dialogues")
    names = {name: n for n, name in enumerate(dict.fromkeys(clusters))}
    places = np.array([names[c] for c in clusters])
    sums = [np.bincount(places, np.asarray(values, dtype=float), minlength=len(names)) for values in runs]
    return np.array(sums), np.bincount(places, minlength=len(names)).astype(float)
