"""Tables of the paper from rows: numbers counted by hand."""

from dataclasses import replace

import pytest

from mtsql_lib.evaluation import (
    abilities,
    at_least,
    compare,
    interaction,
    per_cause,
    per_hardness,
    per_turn,
    plain,
    recovery,
    summary,
)
from mtsql_lib.rows import Row


def row(dialogue: str, turn: int, right: bool = False, **more) -> Row:
    return Row(f"{dialogue}/{turn}", dialogue, turn, **{"hardness": "easy", "ex": right, "em": right, **more})


THREE = [
    row("a", 0, True),
    row("a", 1, True, hardness="medium"),
    row("b", 0, True, em=False, ex_strict=True),
    row("b", 1, False, hardness="extra", causes=("join",)),
    row("c", 5, False, hardness="hard", causes=("join", "case")),
    row("c", 6, False, status="gold_failed", reason="the gold query fails (error: no such column)"),
]


def test_summary_counts_every_question_and_leaves_broken_gold_out_of_the_shares():
    whole = summary(THREE)
    assert (whole.questions, whole.executed, whole.dialogues) == (6, 5, 3)
    assert whole.ex.question.estimate == pytest.approx(60)  # 3 of 5
    assert whole.em.question.estimate == pytest.approx(40)
    assert whole.ex.interaction.estimate == pytest.approx(100 / 3)  # only dialogue a
    assert whole.failed == (("c/6", "the gold query fails (error: no such column)"),)
    assert "60.0" in str(whole) and "60.0" in whole._repr_html_()


def test_differences_between_official_and_strict_are_named():
    assert summary(THREE).differ == ("a/0", "a/1")
    assert summary([replace(r, ex_strict=r.ex, em_strict=r.em) for r in THREE]).differ == ()


def test_an_unplayed_question_is_wrong_and_named():
    whole = summary([row("a", 0, True), row("a", 1, status="unplayed", reason="too long")])
    assert whole.executed == 2 and whole.ex.question.estimate == 50
    assert whole.ex.interaction.estimate == 0 and whole.failed == (("a/1", "too long"),)


def test_interaction_match_needs_every_turn():
    rows = [row("a", n, n != 3) for n in range(4)] + [row("b", 0, True)]
    assert interaction(rows).estimate == 50
    assert interaction(rows, "em").estimate == 50


def test_turns_above_four_share_a_line_and_hardness_keeps_spiders_order():
    turns = {p.name: (p.questions, p.ex.estimate) for p in per_turn(THREE)}
    assert turns == {"1": (2, 100.0), "2": (2, 50.0), ">4": (1, 0.0)}
    assert [p.name for p in per_hardness(THREE)] == ["easy", "medium", "hard", "extra"]
    assert [p.name for p in per_hardness([row("a", 0, hardness="unknown")])] == ["unknown"]


def test_a_question_with_two_causes_is_in_both_parts():
    assert {p.name: p.questions for p in per_cause(THREE)} == {"case": 1, "join": 2, "none": 3}


def test_abilities_by_hand():
    rows = [
        row("a", 0, exec_calls=1, exec_verdicts=2, exec_right=1, propose=0.5, proposals=1, first=0.5),
        row("a", 1, exec_calls=3, memory_calls=1, memory_verdicts=1, memory_right=1, propose=0.75,
            proposals=2, first=0.5, last=1.0),
        row("b", 1, exec_verdicts=2, exec_right=2),
        row("b", 2, mode="direct"),
        row("b", 3, status="unplayed", mode=""),
        row("b", 4, status="gold_failed", exec_calls=9),
    ]  # fmt: skip
    found = {m.name: m for m in abilities(rows)}
    assert found["calls exec_sql"].interval.estimate == pytest.approx(200 / 3)  # 2 of 3 agents
    assert found["calls memory_retrieve"].interval.estimate == 50  # 1 of 2 on later turns
    assert (found["execute-verify accuracy"].cases, found["execute-verify accuracy"].interval.estimate) == (
        4,
        75,
    )
    assert found["memory-verify accuracy"].interval.estimate == 100
    assert found["proposal agreement"].interval.estimate == pytest.approx(62.5)
    assert (found["correction gain"].cases, found["correction gain"].interval.estimate) == (1, 50)
    assert found["correction gain"].dialogues == 1


def test_no_case_is_no_number():
    assert {(m.cases, m.interval) for m in abilities([row("a", 0, mode="direct")])} == {(0, None)}
    assert "–" in str(recovery([row("a", 0)])[0])


def test_recovery_counts_an_episode_with_both_troubles_once_in_either():
    rows = [
        row("a", 0, True, met_error=True, met_empty=True),
        row("a", 1, False, met_error=True),
        row("b", 0, True, met_empty=True),
        row("b", 1, True),
    ]
    error, empty, either = recovery(rows)
    assert (error.cases, error.interval.estimate) == (2, 50)
    assert (empty.cases, empty.interval.estimate) == (2, 100)
    assert (either.cases, either.interval.estimate) == (3, pytest.approx(200 / 3))


def system(rights: int, of: int = 40, per_dialogue: int = 2) -> list[Row]:
    return [row(f"d{n // per_dialogue}", n % per_dialogue, n < rights) for n in range(of)]


def test_a_difference_is_shown_contradicted_or_not_shown():
    base, better = system(10), system(30)
    shown = compare("better", base, better)
    assert (shown.first, shown.second, shown.interval.estimate) == (25, 75, 50)
    assert shown.verdict == "shown" and shown.dialogues == 20
    assert compare("better", better, base).verdict == "contradicted"
    same = compare("better", base, list(reversed(base)))
    assert same.interval.estimate == 0 and same.verdict == "not shown"
    assert "not shown" in str(same) and plain(same)["verdict"] == "not shown"


def test_an_interval_that_holds_0_is_not_shown():
    tiny = compare("better", system(20), system(21))
    assert tiny.interval.estimate == 2.5 and tiny.interval.low <= 0 and tiny.verdict == "not shown"


def test_few_dialogues_show_nothing_however_clear():
    assert compare("better", system(0, 18), system(18, 18)).verdict == "not shown"  # 9 dialogues
    assert compare("better", system(0, 20), system(20, 20)).verdict == "shown"


def test_the_same_questions_are_compared_and_the_others_counted():
    first, second = system(0, 40), system(40, 40)
    found = compare("x", first[:30], second[4:])
    assert (found.questions, found.dropped) == (26, 14)
    assert compare("x", first[:4], second[4:]) is None
    later = compare("x", first, second, where=lambda r: r.turn > 0)
    assert later.questions == 20


def test_at_least_asks_for_the_lower_bound():
    rows = [replace(r, met_error=True) for r in system(20)]
    assert at_least("recovers", recovery(rows)[0], 25).verdict == "shown"
    assert at_least("recovers", recovery(rows)[0], 45).verdict == "not shown"
    assert at_least("recovers", recovery(system(3))[0], 25) is None
