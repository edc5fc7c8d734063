"""Advantages by hand, and the promises of `per_action` for any group."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.credit import PROCESS_BOUND, Action, group_advantages, per_action, released


def test_group_advantages_by_hand():
    # mean 1, Bessel std = sqrt((1 + 1 + 0 + 0) / 3)
    expected = [1 / ((2 / 3) ** 0.5 + 1e-4), -1 / ((2 / 3) ** 0.5 + 1e-4), 0.0, 0.0]
    assert group_advantages([2, 0, 1, 1]) == pytest.approx(expected)


@pytest.mark.parametrize("rewards", [[1.0], [1, 1, 1], [0.3] * 8])
def test_no_contrast_teaches_nothing(rewards):
    assert group_advantages(rewards) == [0.0] * len(rewards)


def test_released_spreads_one_scalar_over_the_sampled_tokens():
    rows = released([1, 0], [2, 3])
    high = 0.5 / (0.5**0.5 + 1e-4)
    assert rows == [[pytest.approx(high)] * 2, [pytest.approx(-high)] * 3]


def test_per_action_by_hand():
    good, bad = Action("propose", 1.0, 2), Action("propose", 0.0, 1)
    answer = Action("answer", None, 1)
    a = 0.5 / (0.5**0.5 + 1e-4)  # both outcome and process advantages of a pair
    first, second = per_action([1, 0], [[good, answer], [bad, answer]])
    assert first == pytest.approx([a + a * PROCESS_BOUND * a] * 2 + [a])
    assert second == pytest.approx([-a - a * PROCESS_BOUND * a, -a])


def test_per_action_compares_messages_of_one_kind():
    # probes score low and proposals high in both episodes: only against their own kind do they differ
    first = [Action("probe", 0.2, 1), Action("propose", 1.0, 1)]
    second = [Action("probe", 0.0, 1), Action("propose", 0.8, 1)]
    better, worse = per_action([1, 0], [first, second])
    assert better[0] == pytest.approx(better[1], rel=1e-3) and worse[0] == pytest.approx(worse[1], rel=1e-3)
    assert better[0] > group_advantages([1, 0])[0] > 0 > group_advantages([1, 0])[1] > worse[0]


actions = st.lists(
    st.builds(Action, st.sampled_from("abc"), st.none() | st.floats(0, 1), st.integers(1, 4)),
    min_size=1,
    max_size=4,
)


@given(st.lists(st.tuples(st.floats(0, 2), actions), min_size=2, max_size=6))
def test_process_never_turns_the_sign_of_the_outcome(group):
    outcomes, episodes = [o for o, _ in group], [a for _, a in group]
    for advantage, episode, row in zip(
        group_advantages(outcomes), episodes, per_action(outcomes, episodes), strict=True
    ):
        assert len(row) == sum(action.tokens for action in episode)
        for value in row:
            assert value * advantage >= 0 and abs(value - advantage) <= abs(advantage) * PROCESS_BOUND + 1e-12
            assert (value == 0) == (advantage == 0)


@given(st.permutations(range(4)))
def test_order_in_the_group_does_not_matter(order):
    outcomes = [2.0, 1.0, 0.0, 0.0]
    episodes = [[Action("p", n / 3, n + 1)] for n in range(4)]
    rows = per_action(outcomes, episodes)
    shuffled = per_action([outcomes[i] for i in order], [episodes[i] for i in order])
    for row, i in zip(shuffled, order, strict=True):
        assert row == pytest.approx(rows[i])
