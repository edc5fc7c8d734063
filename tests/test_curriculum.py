"""Bins and their schedule, by hand and for any measurement."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.curriculum import Bin, bins, schedule
from mtsql_lib.errors import KitError

RATES = {"a": 1.0, "b": 0.2, "c": 0.9, "d": 0.0, "e": 0.5, "f": 0.5, "g": 0.95}


def test_bins_by_hand():
    assert bins(RATES) == [
        Bin(("g", "c"), pytest.approx(0.925)),
        Bin(("e",), 0.5),
        Bin(("f", "b"), pytest.approx(0.35)),
    ]


def test_always_and_never_solved_questions_leave():
    assert bins(RATES, 1)[0].questions == ("g", "c", "e", "f", "b")


def test_a_bin_prints_its_size_and_success():
    assert str(bins(RATES)[0]) == "2 questions, solved at 92 %"


@pytest.mark.parametrize("rates", [{}, {"a": 1.0, "b": 1.0}, {"a": 0.5, "b": 0.1, "c": 1.0, "d": 0.0}])
def test_too_few_questions(rates):
    with pytest.raises(KitError, match=f"of {len(rates)} questions are neither always nor never solved"):
        bins(rates, 3)


rates = st.dictionaries(st.text(max_size=3), st.integers(0, 20).map(lambda n: n / 20), min_size=1)


@given(rates, st.integers(1, 5))
def test_bins_part_the_questions_solved_sometimes_from_easy_to_hard(measured, count):
    open_questions = [q for q, rate in measured.items() if 0 < rate < 1]
    if len(open_questions) < count:
        return
    parts = bins(measured, count)
    assert Counter(q for part in parts for q in part.questions) == Counter(open_questions)
    sizes = [len(part.questions) for part in parts]
    assert len(parts) == count and max(sizes) - min(sizes) <= 1
    ranked = [measured[q] for part in parts for q in part.questions]
    assert ranked == sorted(ranked, reverse=True)
    assert all(min(ranked) <= part.success <= max(ranked) for part in parts)


def test_schedule_by_hand():
    parts = [Bin(("a", "b"), 0.9), Bin(("c",), 0.1)]
    order = schedule(parts, (3, 2), 2, "seed")
    assert len(order) == 10
    assert Counter(order) == {"a": 3, "b": 3, "c": 4}
    assert [set(order[n : n + 2]) for n in (0, 2, 4)] == [{"a", "b"}] * 3, "each question before any again"


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.integers(1, 4), st.data())
def test_schedule_uses_a_bin_evenly_and_in_turn(sizes, per_step, data):
    parts = [Bin(tuple(f"{n}-{k}" for k in range(size)), 0.5) for n, size in enumerate(sizes)]
    steps = [data.draw(st.integers(0, 5)) for _ in parts]
    order = schedule(parts, steps, per_step, "s")
    assert len(order) == sum(steps) * per_step
    start = 0
    for part, count in zip(parts, steps, strict=True):
        piece = order[start : start + count * per_step]
        start += len(piece)
        uses = Counter(piece)
        assert set(uses) <= set(part.questions)
        counts = [uses[q] for q in part.questions]
        assert max(counts) - min(counts) <= 1
    assert order == schedule(parts, steps, per_step, "s")


def test_another_seed_is_another_order():
    parts = [Bin(tuple("abcdefgh"), 0.5)]
    assert schedule(parts, [4], 2, "1") != schedule(parts, [4], 2, "2")


def test_every_bin_needs_its_steps():
    with pytest.raises(ValueError):
        schedule([Bin(("a",), 0.5)], [1, 1], 1, "s")
