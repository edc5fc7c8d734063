"""Algorithm 1's rules on hand-made episodes, and what holds for any."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.environment import Episode, Step, ToolResult
from mtsql_lib.sampling import (
    RoundCounts,
    Sampled,
    cluster_centres,
    draw_pool,
    hashed_ngrams,
    representatives,
    select,
    unsolved,
)


def sampled(number, interactions, valid=True, text=None, question="q"):
    call = ToolResult(0, "exec_sql", "SELECT 1", None)
    steps = (Step(text or f"episode {number} says {number}"),)
    log = (call,) * interactions
    return Sampled(Episode(question, number, "agent", "", (), steps, log, (), "SELECT 1", "answer"), valid)


def kept(drawn, hardness="hard", **options):
    episodes, counts = select({"q": drawn}, lambda _: hardness, **options)
    return [e.sample for e in episodes], counts.by_rule


def test_an_easy_question_gives_two_short_ones_in_the_order_of_sampling():
    drawn = [sampled(0, 4), sampled(1, 2), sampled(2, 0, valid=False), sampled(3, 1), sampled(4, 0)]
    assert kept(drawn, "easy") == ([1, 3], {"short": 2})


def test_an_always_solved_question_counts_as_easy():
    drawn = [sampled(0, 3), sampled(1, 2), sampled(2, 1), sampled(3, 0)]
    assert kept(drawn, "extra") == ([1, 2], {"short": 2})


def test_an_easy_question_without_short_ones_gives_its_shortest():
    drawn = [sampled(0, 5), sampled(1, 3), sampled(2, 4), sampled(3, 0, valid=False)]
    assert kept(drawn, "easy") == ([1, 2], {"nearest": 2})


def test_a_hard_question_gives_long_ones_only():
    drawn = [sampled(0, 1), sampled(1, 2), sampled(2, 3), sampled(3, 2, valid=False)]
    assert kept(drawn) == ([1, 2], {"long": 2})


def test_a_hard_question_without_long_ones_gives_what_it_has():
    assert kept([sampled(0, 1), sampled(1, 0, valid=False)]) == ([0], {"nearest": 1})


def test_of_many_long_ones_one_of_each_cluster():
    ways = ["look at the ships first", "count the ports then join", "ask the memory about captains"]
    drawn = [sampled(n, 2, text=f"{ways[n % 3]} {ways[n % 3]} {n}") for n in range(9)] + [
        sampled(9, 2, False)
    ]
    chosen, rules = kept(drawn)
    assert rules == {"long": 3} and {n % 3 for n in chosen} == {0, 1, 2}


def test_the_same_words_count_once():
    drawn = [sampled(n, 2, text="the same") for n in range(5)] + [sampled(5, 2, False)]
    assert kept(drawn) == ([0], {"long": 1})


def test_a_question_without_a_valid_one_gives_nothing():
    assert kept([sampled(0, 2, valid=False)] * 3) == ([], {})


def test_counts_by_hand():
    samples = {
        "solved": [sampled(0, 1), sampled(1, 1)],
        "hard": [sampled(0, 2), sampled(1, 2, valid=False)],
        "open": [sampled(0, 2, valid=False)] * 2,
    }
    _, counts = select(samples, lambda q: "hard")
    assert counts == RoundCounts(3, 6, valid=3, covered=2, kept=3, by_rule={"short": 2, "long": 1})
    assert unsolved(["hard", "open", "not drawn", "solved"], samples) == ["open", "not drawn"]


outcomes = st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=12)


@given(outcomes, st.sampled_from(["easy", "medium", "hard", "extra"]), st.integers(1, 3), st.integers(1, 4))
def test_for_any_question(drawn, hardness, easy, hard):
    drawn = [sampled(n, interactions, valid) for n, (interactions, valid) in enumerate(drawn)]
    chosen, rules = kept(drawn, hardness, keep_easy=easy, keep_hard=hard)
    valid = {s.episode.sample for s in drawn if s.valid}
    always = len(valid) == len(drawn)
    assert set(chosen) <= valid and len(set(chosen)) == len(chosen)
    assert bool(chosen) == bool(valid), "a solved question always gives something"
    assert len(chosen) <= (easy if hardness == "easy" or always else hard)
    assert sum(rules.values()) == len(chosen) and len(rules) <= 1
    lengths = {s.episode.sample: s.episode.interactions for s in drawn}
    if "short" in rules:
        assert all(lengths[n] <= 2 for n in chosen)
    if "long" in rules:
        assert all(lengths[n] >= 2 for n in chosen)


def test_clusters_by_hand():
    points = np.array([[0, 0], [0, 1], [1, 0], [9, 9], [9, 8], [0, 9.0]])
    assert cluster_centres(points, 3) == [0, 3, 5]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=15), st.integers(1, 4))
def test_centres_are_different_points(points, count):
    points = np.array(points, dtype=float)
    if len(points) >= count:
        picked = cluster_centres(points, count)
        assert len(set(picked)) == count and all(0 <= i < len(points) for i in picked)


def test_few_episodes_need_no_clusters():
    episodes = [sampled(n, 2).episode for n in range(3)]
    assert representatives(episodes, 3, embed=pytest.fail) == episodes


def test_embedding_by_hand():
    first, again, other, empty = hashed_ngrams(["a b a b", "a b a b", "x y z", "alone"])
    assert (first == again).all() and first @ first == pytest.approx(1)
    assert sorted(first[first > 0]) == pytest.approx([1 / 5**0.5, 2 / 5**0.5]), "a b twice, b a once"
    assert first @ other == 0 and not empty.any()


def test_a_pool_is_drawn_by_its_seed_in_its_order():
    pool = [str(n) for n in range(50)]
    drawn = draw_pool(pool, 10, "seed")
    assert len(drawn) == 10 and drawn == sorted(drawn, key=int) == draw_pool(pool, 10, "seed")
    assert drawn != draw_pool(pool, 10, "other")
    assert draw_pool(pool, 0, "seed") == draw_pool(pool, 99, "seed") == pool
