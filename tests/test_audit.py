"""The reward audit: no trick beats honest play in paper mode, and the page in docs is what the code says."""

from functools import cache

import pytest

from mtsql_lib.audit import DOCUMENT, Attack, audit, build, document, play
from mtsql_lib.audit_attacks import ATTACKS, QUESTIONS
from mtsql_lib.protocol import compose_call
from mtsql_lib.rewards import reward
from mtsql_lib.scoring import Judge

TABLE = cache(audit)
HONEST = sorted({(a.gold, a.honest) for a in ATTACKS if any("memory_retrieve" in text for text in a.honest)})


@pytest.fixture(scope="module")
def judge(tmp_path_factory):
    judge = Judge(build(tmp_path_factory.mktemp("data")))
    yield judge
    judge.executor.close()


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda a: a.name)
def test_no_trick_beats_honest_play_in_paper_mode(attack):
    finding = next(f for f in TABLE().findings if f.attack is attack and f.mode == "paper")
    assert not finding.beats, finding.cells()


def test_the_released_code_pays_for_these():
    paying = [f.attack.name for f in TABLE().findings if f.mode == "released" and f.beats]
    assert paying == [
        "empty result on empty gold",
        "constants",
        "repeated calls",
        "calls in other words",
        "padding with earlier SQL",
        "memory asked again and again",
        "memory on a first turn",
    ]


@pytest.mark.parametrize(("gold", "honest"), HONEST)
def test_no_further_call_can_raise_a_paper_score(gold, honest, judge):
    """Every call of a pool, with every verdict, put at every place of every honest script."""
    question = QUESTIONS[gold]

    def total(script):
        return reward(play(question, script, judge.databases, judge, 9), question, judge).total

    most = total(honest)
    sqls = ["SELECT nam FROM Ferry", "SELECT Name FROM Ferry WHERE Flag = 'norway'", *list(QUESTIONS)[1:3]]
    no_pass = "<exec_verify>no_pass</exec_verify>"
    verdicts = [
        "",
        no_pass,
        no_pass + "<memory_verify>no_pass</memory_verify>",
        "<exec_verify>pass</exec_verify>",
    ]
    calls = [compose_call(tool, sql) for tool in ("exec_sql", "memory_retrieve") for sql in sqls]
    for place in range(len(honest)):
        for verdict in verdicts:
            for call in calls:
                longer = (*honest[:place], verdict + call, *honest[place:])
                assert total(longer) <= most + 1e-9, longer


def test_the_page_is_what_the_code_says():
    assert DOCUMENT.read_text(encoding="utf-8") == document(TABLE()), "run python -m mtsql_lib.audit"


def test_the_table_prints_for_a_page_and_for_a_notebook():
    table = TABLE()
    lines = str(table).splitlines()
    assert len(lines) == 2 + 2 * len(ATTACKS) and {line.count("|") for line in lines} == {11}
    html = table._repr_html_()
    assert html.count("<tr>") == 1 + 2 * len(ATTACKS) and "#b00020" in html and "**" not in html


def test_a_trick_that_pays_is_found():
    gold, honest = HONEST[0]
    trick = Attack("plays well", "knows more", gold, honest, honest[:1] + ("I give up",))
    assert {(f.mode, f.beats) for f in audit([trick]).findings} == {("paper", True), ("released", True)}
