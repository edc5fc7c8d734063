"""Algorithm 1: self-taught warm start. Sample, keep what is right, select by difficulty, drop what is solved.

A round takes the episodes sampled for each question of the pool and returns which of them to train on; what
to sample with and how to train are the caller's, and so is keeping what earlier rounds selected. Rules as in
the paper: a trajectory is valid if its answer matches in EX and EM; of an easy or always solved question up
to two short ones are kept; of any other, long ones are clustered by their text and one of each of three
clusters is kept; solved questions leave the pool.

Where the paper is silent: a valid trajectory that says the same as another counts once; a question without a
short (or long) trajectory gives what is nearest to it. The paper's embedding is a model, ours needs none.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from mtsql_lib.environment import Episode

SHORT, LONG = 2, 2  # interactions up to which a trajectory is short, and from which it is long (paper)


@dataclass(frozen=True)
class Sampled:
    """One sampled episode with its verdict: valid means EX and EM."""

    episode: Episode
    valid: bool


@dataclass(frozen=True)
class RoundCounts:
    """What a round saw and kept. `by_rule` counts kept trajectories: short or long as the rule wants them,
    `nearest` for questions that have none of the wanted kind, `first` without selection. Of all episodes
    some were `cut` by the token budget, some ended `unanswered`, and some hold a `malformed` message.
    """

    questions: int
    episodes: int
    valid: int
    covered: int
    kept: int
    by_rule: dict[str, int] = field(default_factory=dict)
    cut: int = 0
    unanswered: int = 0
    malformed: int = 0


def select(
    samples: dict[str, list[Sampled]],
    hardness: Callable[[str], str],
    *,
    keep_easy: int = 2,
    keep_hard: int = 3,
    by_difficulty: bool = True,
    embed: Callable[[list[str]], np.ndarray] | None = None,
) -> tuple[list[Episode], RoundCounts]:
    """Difficulty-aware selection over all questions; `hardness` maps a question id to Spider's class. Without
    `by_difficulty` the first `keep_hard` valid trajectories of every question are kept, for comparison.
    """
    kept: list[Episode] = []
    rules: dict[str, int] = {}
    for question_id, drawn in samples.items():
        valid = _distinct([s.episode for s in drawn if s.valid])
        if not valid:
            continue
        if not by_difficulty:
            rule, wanted = "first", valid
            chosen = valid[:keep_hard]
        elif hardness(question_id) == "easy" or all(s.valid for s in drawn):
            rule, wanted = "short", [e for e in valid if e.interactions <= SHORT]
            chosen = wanted[:keep_easy] or shortest(valid)[:keep_easy]
        else:
            rule, wanted = "long", [e for e in valid if e.interactions >= LONG]
            chosen = representatives(wanted or valid, keep_hard, embed or hashed_ngrams)
        kept += chosen
        rule = rule if wanted else "nearest"
        rules[rule] = rules.get(rule, 0) + len(chosen)
    covered = sum(any(s.valid for s in drawn) for drawn in samples.values())
    everything = [s for drawn in samples.values() for s in drawn]
    episodes = [s.episode for s in everything]
    return kept, RoundCounts(
        questions=len(samples),
        episodes=len(episodes),
        valid=sum(s.valid for s in everything),
        covered=covered,
        kept=len(kept),
        by_rule=rules,
        cut=sum(e.stop == "length" for e in episodes),
        unanswered=sum(e.answer is None and e.stop != "length" for e in episodes),
        malformed=sum(e.malformed for e in episodes),
    )


def shortest(episodes: Sequence[Episode]) -> list[Episode]:
    """Sorted by interactions, ties in the order given (by tokens it would teach brevity)."""
    return sorted(episodes, key=lambda e: e.interactions)


def representatives(
    episodes: Sequence[Episode], count: int, embed: Callable[[list[str]], np.ndarray]
) -> list[Episode]:
    """One trajectory of each of `count` clusters of their texts, the one nearest to its centre."""
    if len(episodes) <= count:
        return list(episodes)
    vectors = embed(["\n".join(step.text for step in e.steps) for e in episodes])
    return [episodes[i] for i in cluster_centres(vectors, count)]


def cluster_centres(vectors: np.ndarray, count: int, iterations: int = 20) -> list[int]:
    """k-means with farthest-first starts on (N, D), N >= count: `count` different indices, ascending, of the
    vectors nearest to the centres. Deterministic."""
    chosen = [0]
    while len(chosen) < count:
        distances = np.min([((vectors - vectors[c]) ** 2).sum(1) for c in chosen], axis=0)
        chosen.append(int(distances.argmax()))
    centres = vectors[chosen].astype(float)
    for _ in range(iterations):
        nearest = ((vectors[:, None] - centres[None]) ** 2).sum(-1).argmin(1)
        members = [vectors[nearest == k] for k in range(count)]
        centres = np.array([m.mean(0) if len(m) else c for m, c in zip(members, centres, strict=True)])
    distances = ((vectors[:, None] - centres[None]) ** 2).sum(-1)
    picked: list[int] = []
    for k in range(count):
        order = [int(i) for i in distances[:, k].argsort(kind="stable") if int(i) not in picked]
        picked.append(order[0])
    return sorted(picked)


def hashed_ngrams(texts: list[str], size: int = 256) -> np.ndarray:
    """Texts as counts of hashed word pairs, unit length, (N, size). The paper embeds by Qwen3-Embedding."""
    vectors = np.zeros((len(texts), size))
    for row, text in enumerate(texts):
        words = text.split()
        for pair in zip(words, words[1:], strict=False):
            digest = hashlib.blake2b(" ".join(pair).encode(), digest_size=4).digest()
            vectors[row, int.from_bytes(digest, "big") % size] += 1
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)


def draw_pool(pool: Sequence[str], count: int, seed: str) -> list[str]:
    """`count` question ids of the pool (0: all), seeded, in the pool's order."""
    if not count or count >= len(pool):
        return list(pool)
    chosen = set(random.Random(seed).sample(range(len(pool)), count))
    return [q for n, q in enumerate(pool) if n in chosen]


def unsolved(pool: Sequence[str], samples: dict[str, list[Sampled]]) -> list[str]:
    """The pool without the questions that have a valid trajectory."""
    return [q for q in pool if not any(s.valid for s in samples.get(q, ()))]


def _distinct(episodes: list[Episode]) -> list[Episode]:
    seen: dict[tuple[str, ...], Episode] = {}
    for episode in episodes:
        seen.setdefault(tuple(step.text for step in episode.steps), episode)
    return list(seen.values())
