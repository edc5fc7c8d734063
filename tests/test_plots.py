"""Figures: what they draw, what their title claims, and that the same figure is the same bytes."""

import pytest

from mtsql_lib import plots
from mtsql_lib.rewards import RewardBreakdown
from mtsql_lib.rows import Row
from mtsql_lib.sampling import RoundCounts


def title(figure) -> str:
    return figure.axes[0].get_title(loc="left")


def bars(figure) -> list[float]:
    return [round(patch.get_height(), 3) for patch in figure.axes[0].patches]


def rows(rights: int, of: int = 40, **more) -> list[Row]:
    return [
        Row(f"d{n}/{t}", f"d{n}", t, "easy", n < rights, exec_calls=1, **more)
        for n in range(of)
        for t in (0, 1)
    ]


def test_the_histogram_counts_every_question():
    figure = plots.success_histogram({"a": 0, "b": 0, "c": 2, "d": 4}, 4)
    assert bars(figure) == [2, 0, 1, 0, 1]
    assert title(figure) == "2 of 4 questions are solved at least once, 1 always"
    assert "2, 0, 1, 0, 1" in figure.get_label()


def test_selection_is_drawn_by_rule():
    figure = plots.kept_by_rule(RoundCounts(10, 80, 20, 8, 12, {"short": 5, "long": 7}))
    assert [p.get_width() for p in figure.axes[0].patches] == [80, 20, 7, 5]
    assert title(figure) == "12 of 80 trajectories are kept"


@pytest.mark.parametrize(("last", "claims"), [(0.5, True), (2.0, False)])
def test_a_title_claims_a_falling_loss_only_if_it_falls(last, claims):
    assert ("falls" in title(plots.loss_curve({"round 1": [(1, 1.0), (2, last)]}))) == claims


@pytest.mark.parametrize(("drift", "claims"), [(0.01, True), (-0.01, False)])
def test_a_title_claims_a_rising_reward_only_if_every_bin_rises(drift, claims):
    points = [(n, 1 + 0.01 * n) for n in range(1, 11)] + [(n, 0.5 + drift * n) for n in range(11, 21)]
    assert ("rises" in title(plots.reward_per_bin(points, (10, 10)))) == claims


def test_a_system_is_called_above_another_only_beyond_both_intervals():
    assert title(plots.ex_per_turn({"low": rows(4), "high": rows(36)})) == "high is above low everywhere"
    assert title(plots.ex_per_turn({"low": rows(18), "high": rows(20)})) == "EX by turn of the dialogue"
    assert title(plots.ex_per_hardness({"low": rows(4)})) == "EX by hardness of the gold query"


def test_bars_of_a_measure_without_cases_are_missing():
    figure = plots.recovery_bars({"x": rows(10, met_error=True), "y": rows(5)})
    assert bars(figure) == [25, 25]  # after an error and after either; y met no trouble
    assert "x: after an error 25, after either 25" in figure.get_label()
    assert plots.ability_metrics({"x": rows(10)}).axes[0].get_title(loc="left") == "Long-horizon abilities"


def test_the_waterfall_adds_up_and_shows_what_was_not_scored():
    figure = plots.reward_waterfall(RewardBreakdown(1, 0, 0.5, 1.0, None))
    assert bars(figure) == [1, 0, 0.4, 0.1, 0, 1.5]
    assert "–" in {text.get_text() for text in figure.axes[0].texts}


def test_curves_and_checkpoints_are_told_in_words():
    lengths = plots.response_length([(n, 100 + n) for n in range(20)])
    assert lengths.get_label().startswith("Episodes have 100 tokens") and "118" in lengths.get_label()
    scores = plots.held_out_scores({"a": [(10, 1.0), (20, 1.25)], "b": []})
    assert scores.get_label() == "Best held-out EX + EM: a 1.250 at update 20."
    assert plots.before_after({"untrained": 0.2, "round 1": 0.4}).get_label().endswith("round 1 40.0.")


def test_svg_is_the_same_bytes_and_speaks():
    one, two = (plots.svg(plots.before_after({"a<b": 0.25})) for _ in range(2))
    assert one == two and one.startswith("<svg") and 'aria-label="EX in per cent: a&lt;b 25.0."' in one
