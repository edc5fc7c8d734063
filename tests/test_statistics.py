"""Intervals by hand, against a closed form, and by how often they cover the truth."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.statistics import Interval, mean_interval, over_seeds, paired_interval, t_quantile


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


def mean_of(runs):
    """The statistic of a mean over seeds and questions, in per cent."""
    values = np.asarray(runs, dtype=float)
    return lambda weights, chosen: 100 * chosen @ values @ weights / (chosen.sum() * weights.sum())


def test_the_error_over_seeds_adds_dialogues_and_training():
    names = [str(n // 4) for n in range(80)]
    answers = (np.random.default_rng(1).random(80) < 0.5).astype(float)
    alone = over_seeds(mean_of([answers]), names, 1, draws=4000)
    assert over_seeds(mean_of([answers] * 3), names, 3, draws=4000) == alone  # no luck of training
    bootstrap = mean_interval(answers.tolist(), names, draws=4000)
    assert alone.interval().high - alone.estimate == pytest.approx(
        bootstrap.high - bootstrap.estimate, rel=0.15
    )
    # no luck of dialogues: the textbook's t interval of three numbers
    steady = over_seeds(mean_of([[0.0] * 80, [0.5] * 80, [1.0] * 80]), names, 3).interval()
    assert steady.estimate == 50.0
    assert steady.high - 50.0 == pytest.approx(4.302653 * 50 / math.sqrt(3), rel=1e-3)


@pytest.mark.parametrize(("training", "dialogue"), [(3.0, 0.3), (1.0, 1.0), (0.0, 1.0)])
def test_the_interval_over_seeds_covers_the_truth(training, dialogue):
    random, hits, trials = np.random.default_rng(11), 0, 200
    names = [str(n // 3) for n in range(90)]
    for _ in range(trials):
        shared = np.repeat(random.normal(0, dialogue, 30), 3)
        runs = [shared + random.normal(0, training / 5) + random.normal(0, 0.3, 90) for _ in range(3)]
        interval = over_seeds(mean_of(runs), names, 3, draws=100).interval()
        hits += interval.low <= 0 <= interval.high
    assert hits / trials >= 0.9


@pytest.mark.parametrize(
    ("share", "freedom", "expected"),
    [(0.975, 1, 12.7062), (0.975, 2, 4.3027), (0.975, 2.5, 3.5759), (0.9917, 4, 3.9602), (0.975, 1e9, 1.96)],
)
def test_quantiles_of_t(share, freedom, expected):
    assert t_quantile(share, freedom) == pytest.approx(expected, rel=2e-3)
    assert t_quantile(1 - share, freedom) == pytest.approx(-expected, rel=2e-3)


runs = st.lists(st.tuples(st.floats(0, 1), st.sampled_from("abcdef")), min_size=1, max_size=30)


@given(runs, st.integers(0, 5))
def test_interval_holds_the_estimate_and_knows_its_range(pairs, seed):
    values, names = zip(*pairs, strict=True)
    interval = mean_interval(values, names, draws=200, seed=seed)
    assert interval.estimate == pytest.approx(100 * sum(values) / len(values))
    if len(set(names)) == 1:
        assert (interval.low, interval.high, interval.shown) == (-math.inf, math.inf, False)
        assert str(interval).endswith("[no interval]")
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
        lambda: over_seeds(lambda weights, chosen: float("nan"), ["a", "b"], 3),
    ],
)
def test_refused(call):
    with pytest.raises(ValueError):
        call()
