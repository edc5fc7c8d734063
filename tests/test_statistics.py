"""Intervals by hand, against a closed form, and by how often they cover the truth."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.statistics import Interval, mean_interval, paired_interval, seeds_interval


def test_estimate_by_hand():
    # turns weigh alike: (1 + 1 + 0 + 1) / 4, not the mean of the dialogues' means 2/3 and 1
    assert mean_interval([1, 1, 0, 1], ["a", "a", "a", "b"]).estimate == 75.0


def test_two_dialogues_by_hand():
    # drawn means: 0, 50, 50, 100, each with probability 1/4
    interval = mean_interval([0, 1], ["a", "b"])
    assert (interval.low, interval.high) == (0.0, 100.0) and not interval.shown


def test_all_resamples_of_four_dialogues():
    values, clusters = [1, 1, 0, 1, 0, 0, 1], list("aabbccd")
    sums, counts = {"a": 2, "b": 1, "c": 0, "d": 1}, {"a": 2, "b": 2, "c": 2, "d": 1}
    exact = [
        100 * sum(sums[c] for c in drawn) / sum(counts[c] for c in drawn)
        for drawn in itertools.product("abcd", repeat=4)
    ]
    interval = mean_interval(values, clusters, draws=40_000)
    low, high = np.percentile(exact, (2.5, 97.5))
    assert (interval.low, interval.high) == (pytest.approx(low), pytest.approx(high))


def test_width_equals_the_closed_form_for_many_equal_dialogues():
    # sandwich variance of a mean over n equal clusters: the variance of the cluster means over n
    random = np.random.default_rng(3)
    answers = (random.random((200, 4)) < random.beta(2, 3, 200)[:, None]).astype(float)
    names = [f"d{n}" for n in range(200) for _ in range(4)]
    interval = mean_interval(answers.ravel().tolist(), names, draws=20_000)
    half = 100 * 1.959964 * math.sqrt(answers.mean(1).var() / 200)
    assert interval.high - interval.estimate == pytest.approx(half, rel=0.04)
    assert interval.estimate - interval.low == pytest.approx(half, rel=0.04)
    naive = mean_interval(answers.ravel().tolist(), [str(n) for n in range(800)], draws=4000)
    assert interval.high - interval.low > 1.1 * (naive.high - naive.low), (
        "turns taken as independent look surer"
    )


def test_it_covers_the_truth_about_as_often_as_it_says():
    random, hits, trials = np.random.default_rng(5), 0, 300
    for trial in range(trials):
        sizes = random.integers(2, 6, 60)
        skill = np.repeat(random.beta(3, 2, 60), sizes)  # the dialogue's own difficulty; mean 0.6
        clusters = np.repeat(np.arange(60), sizes)
        answers = (random.random(len(skill)) < skill).astype(float)
        interval = mean_interval(answers.tolist(), clusters.tolist(), draws=400, seed=trial)
        hits += interval.low <= 60 <= interval.high
    assert 0.91 <= hits / trials <= 0.98


def test_pairing_by_hand():
    first, second = [0, 0, 1, 1], [1, 0, 1, 0]
    interval = paired_interval(first, second, list("abcd"))
    assert interval.estimate == 0.0 and interval.low < 0 < interval.high and not interval.shown
    assert paired_interval([0, 0, 0, 1], [1, 1, 1, 1], list("abcd"), draws=8000).shown
    assert paired_interval([1] * 4, [1] * 4, list("abcd")) == Interval(0.0, 0.0, 0.0)


def test_pairing_sees_what_two_separate_intervals_do_not():
    random = np.random.default_rng(0)
    first = (random.random(400) < 0.5).astype(float)
    second = np.maximum(first, random.random(400) < 0.06)  # never worse, sometimes better
    names = [str(n // 4) for n in range(400)]
    a, b = mean_interval(first.tolist(), names), mean_interval(second.tolist(), names)
    assert a.high > b.low, "the two overlap"
    assert paired_interval(first.tolist(), second.tolist(), names).shown


def test_seeds_are_part_of_the_luck():
    # the same answers three times: no luck of training; shifted by seed: the interval must hold the shift
    names = [str(n // 4) for n in range(80)]
    answers = (np.random.default_rng(1).random(80) < 0.5).astype(float)
    alone, thrice = mean_interval(answers.tolist(), names), seeds_interval([answers.tolist()] * 3, names)
    assert (thrice.estimate, thrice.low, thrice.high) == pytest.approx(
        (alone.estimate, alone.low, alone.high)
    )
    shifted = seeds_interval([(answers + s).tolist() for s in (-0.3, 0.0, 0.3)], names)
    assert shifted.estimate == pytest.approx(alone.estimate)
    assert shifted.high - shifted.low > 1.5 * (alone.high - alone.low)
    # no luck of dialogues: three seeds drawn from three, 27 ways
    steady = seeds_interval([[0.0] * 80, [0.5] * 80, [1.0] * 80], names, draws=20_000)
    exact = [100 * sum(drawn) / 3 for drawn in itertools.product((0, 0.5, 1), repeat=3)]
    assert (steady.low, steady.high) == pytest.approx(
        tuple(np.percentile(exact, (2.5, 97.5), method="inverted_cdf"))
    )


runs = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=30)


@given(runs, st.integers(0, 5))
def test_interval_holds_the_estimate_and_knows_its_range(pairs, seed):
    values, names = zip(*pairs, strict=True)
    interval = mean_interval(values, names, draws=200, seed=seed)
    assert interval.estimate == pytest.approx(100 * sum(values) / len(values))
    if len(set(names)) == 1:
        assert (interval.low, interval.high, interval.shown) == (-math.inf, math.inf, False)
    else:
        assert -1e-9 <= interval.low <= interval.high <= 100 + 1e-9


@given(runs)
def test_names_and_order_within_a_dialogue_do_not_matter(pairs):
    values, names = zip(*pairs, strict=True)
    expected = mean_interval(values, names, draws=100)
    assert mean_interval(values, [f"dialogue {n}" for n in names], draws=100) == expected
    by_name = [p for name in dict.fromkeys(names) for p in pairs if p[1] == name]
    moved = mean_interval(*zip(*by_name, strict=True), draws=100)
    assert (moved.low, moved.high) == pytest.approx((expected.low, expected.high))


def test_the_same_seed_gives_the_same_interval():
    values, names = [0, 1, 1, 0, 1, 0.5], list("abcdef")
    assert mean_interval(values, names) == mean_interval(values, names)
    assert mean_interval(values, names, draws=50) != mean_interval(values, names, draws=50, seed=1)


def test_it_prints_well():
    assert str(Interval(12.34, -0.04, 24.56)) == "12.3 [-0.0, 24.6]"


@pytest.mark.parametrize(
    "call",
    [
        lambda: mean_interval([], []),
        lambda: mean_interval([1.0], ["a", "b"]),
        lambda: paired_interval([1.0], [1.0, 0.0], ["a"]),
        lambda: seeds_interval([], ["a"]),
        lambda: seeds_interval([[1.0], [1.0, 0.0]], ["a"]),
    ],
)
def test_refused(call):
    with pytest.raises(ValueError):
        call()
