"""The spelling loses nothing, and spells a name alike wherever it stands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.protocol import compose
from mtsql_lib.spelling import fixed_tokens, spell, unspell

TEXTS = [
    "SELECT count(*) FROM Vessel WHERE flag_state = 'NOR' AND x >= 3.5",
    "SELECT vessel.name FROM vessel JOIN port ON vessel.port_id = port.port_id ORDER BY age DESC LIMIT 1",
    "What about the ferries in New York? names , please .",
    "it's  a 'test'  with   spaces ",
    " '", "''", " ''", "a ' b", "x ' '", "USAir iPhone McDonald B2B T1.name",
    "1998 20 30 007", "é ü 漢字 \t\r\n\n x",
    compose(think="look", verdict=("exec", "no_pass"), call=("exec_sql", "SELECT a FROM b")),
    "<|im_start|>user\nvessel: name\nQ: hi /agent<|im_end|>\n<|im_start|>assistant\n",
    "# Vessel: vessel_id, flagState, HomePort, Flag_State, T1, ID, a1_b2, a_1, _x, x__y, x_, aB, AB\nQ: a_b",
    "SELECT hostNames, HostNames FROM a b WHERE x_1 = 'New_York aB' AND B.cD > 1",
    "1,200 | 3 rows: usa, 1 | france, 2 ...",
]  # fmt: skip


@pytest.mark.parametrize("text", TEXTS)
def test_round_trip_of_typical_texts(text):
    assert unspell(spell(text)) == text


@given(st.text())
def test_round_trip_of_any_text(text):
    assert unspell(spell(text)) == text.encode("utf-8", "replace").decode("utf-8")


@given(st.text(alphabet="aAsSbB1 '\"._()-,=<>*?\n|", max_size=40))
def test_round_trip_of_nasty_spacing(text):
    assert unspell(spell(text)) == text


@given(st.text(alphabet="aAsSbB1 '\"._(),=#\n", max_size=30).map(lambda tail: "# " + tail))
def test_round_trip_in_schema_lines(text):
    assert unspell(spell(text)) == text


@given(st.text(alphabet="aAsSbB1 '_.(),=\n", max_size=30).map(lambda tail: "SELECT " + tail))
def test_round_trip_in_code(text):
    assert unspell(spell(text)) == text


@given(st.lists(st.sampled_from([*fixed_tokens(), "usa", "singer"]), max_size=30))
def test_unspell_is_total(tokens):
    assert isinstance(unspell(tokens), str)


def test_a_name_is_the_same_tokens_in_schema_question_and_sql():
    texts = (
        "the flag state",
        "# flag_state",
        "SELECT flagState",
        "SELECT x FROM FlagState",
        "SELECT t.flag_state",
        "= 'flag state'",
    )
    for text in texts:
        tokens = spell(text)
        assert tokens[tokens.index("flag") + 1] == "state", text


def test_usual_spacing_costs_no_token():
    expected = "SELECT count ( * ) FROM a b WHERE c > 2 AND d = <quote> x y '".split()
    assert spell("SELECT count(*) FROM a_b WHERE c > 2 AND d = 'x y'") == expected
