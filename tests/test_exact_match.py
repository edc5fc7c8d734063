"""Exact set match: golden pairs for every rule, hardness, the tokens, and properties on random text.

Many more cases of the fuzz: CASES=100000 python -m pytest tests/test_exact_match.py -k fuzz
"""

import json
import os
from pathlib import Path

import pytest
from harbour import TURNS, make_database
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsql_lib.errors import KitError
from mtsql_lib.exact_match import COMPONENTS, clauses, evaluator_schema, exact_match, hardness
from mtsql_lib.spider_schema import EvaluatorSchema, TablesJson, foreign_key_twins
from mtsql_lib.spider_sql import SpiderSyntaxError, _unusual_tokens, tokens

GOLDEN = Path(__file__).parent / "golden"
PAIRS = [json.loads(line) for line in (GOLDEN / "exact_match.jsonl").open(encoding="utf-8")]
CLASSES = [json.loads(line) for line in (GOLDEN / "hardness.jsonl").open(encoding="utf-8")]
COLUMNS = {"port": ["port_id", "name"], "ferry": ["ferry_id", "name", "flag", "built", "home_port_id"]}
TWINS = {"__ferry.home_port_id__": "__port.port_id__", "__port.port_id__": "__port.port_id__"}
WORDS = (
    "select distinct from where group by having order limit union intersect except join on as and or not in"
    " like between is asc desc count max avg ( ) , ; * = > < >= != + - / 'x' \"y\" 1 2.5"
    " ferry port T1 T1.name name built flag ."
).split()
PIECES = (*WORDS, *"' \" . - = > ! , cannot % é [ : \n".split(" "), " ")
SCHEMA = EvaluatorSchema(COLUMNS, TWINS)
CASES = int(os.environ.get("CASES", 100))


@pytest.fixture(scope="module")
def schema(tmp_path_factory):
    folder = make_database(tmp_path_factory.mktemp("databases"))
    return evaluator_schema(folder / "harbour" / "harbour.sqlite")


def test_schema_is_read_from_the_file(schema):
    assert (schema.columns, schema.twins) == (COLUMNS, TWINS)


@pytest.mark.parametrize("pair", PAIRS, ids=[pair["rule"] for pair in PAIRS])
def test_golden_pairs(schema, pair):
    official = exact_match(pair["gold"], pair["pred"], schema)
    assert (official.match, official.parsed) == (pair["match"], pair["parsed"])
    assert exact_match(pair["gold"], pair["pred"], schema, "strict").match == pair["strict"]


@pytest.mark.parametrize("pair", CLASSES, ids=[pair["sql"] for pair in CLASSES])
def test_hardness(schema, pair):
    assert hardness(pair["sql"], schema) == pair["hardness"]


def test_components_count_items_on_both_sides(schema):
    result = exact_match("SELECT Name, built FROM Ferry WHERE built > 3", "SELECT Name FROM Ferry", schema)
    assert set(result.components) == set(COMPONENTS)
    assert result.components["select"] == (0, 1, 2)
    assert result.components["where"] == (0, 0, 1)
    assert result.components["order"] == (1, 0, 0)
    assert result.components["and/or"] == (1, 1, 1)


def test_and_or_counts_are_swapped_as_officially(schema):
    gold = "SELECT Name FROM Ferry WHERE built > 3"
    assert exact_match(gold, gold + " AND Flag = 'NOR'", schema).components["and/or"] == (0, 0, 1)


def test_gold_outside_the_grammar_is_an_error(schema):
    with pytest.raises(SpiderSyntaxError, match="lower"):
        exact_match("SELECT lower(Name) FROM Ferry", "SELECT Name FROM Ferry", schema)


def test_clauses_have_spiders_names_and_spell_operators(schema):
    found = clauses(
        "SELECT DISTINCT Flag FROM Ferry WHERE built NOT IN (SELECT Port_ID FROM Port) LIMIT 3", schema
    )
    assert found["select"] == ["distinct", ("none", ("none", "__ferry.flag__", ""))]
    assert found["from"] == {"table_units": ["__ferry__"], "conds": []}
    negated, operator, unit, nested, second = found["where"][0]
    assert (negated, operator, unit, second) == ("not", "in", (("none", "__ferry.built__", ""),), None)
    assert nested["from"]["table_units"] == ["__port__"]
    assert (found["limit"], found["groupBy"], found["union"]) == ("3", [], None)
    assert clauses("SELECT", schema) is None


def test_a_tree_prints_its_clauses(schema):
    assert repr(schema.tree("SELECT Name FROM Ferry")).startswith(
        "Select(items=[(0, (0, (0, '__ferry.name__'"
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        ("a>=3", "a > =3"),
        ("a >= 3", "a >= 3"),
        ("a ! = 'It Is'", 'a != "It Is"'),
        ("COUNT( * ),t1.x;", "count ( * ) , t1.x ;"),
        ("x=3", "x=3"),
        ("a,5 ,b", "a,5 , b"),
        ("a:5 b:c", "a:5 b : c"),
        ("limit 3.", "limit 3 ."),
        ("a--b $c", "a -- b $ c"),
        ("cannot", "can not"),
        ("f [x] {y} `z`", "f [ x ] { y } ` z `"),
        ("a…b — c", "a…b — c"),
    ],
)
def test_tokens_are_those_of_the_treebank_tokeniser(text, expected):
    assert " ".join(tokens(text)) == expected


@given(st.lists(st.sampled_from(PIECES)).map("".join))
@settings(max_examples=CASES)
def test_fuzz_the_quick_way_to_tokens_is_the_long_one(text):
    parts = text.replace("'", '"').split('"')
    if len(parts) % 2:
        assert tokens(text) == _unusual_tokens(parts)


def test_a_literal_glued_to_a_word_is_no_literal():
    assert tokens("like 'x'") == ["like", '"x"']
    assert [word for word in tokens("like'x'") if '"' in word] == []


def test_foreign_key_groups_are_greedy_and_never_merged():
    entry = {
        "table_names_original": ["A", "B"],
        "column_names_original": [[-1, "*"], [0, "x"], [0, "y"], [1, "X"], [1, "z"]],
        "foreign_keys": [[3, 1], [4, 2], [2, 3]],
    }
    twins = {"__a.x__": "__a.x__", "__b.x__": "__a.x__", "__a.y__": "__a.y__", "__b.z__": "__a.y__"}
    assert foreign_key_twins(entry) == twins


def test_tables_json_gives_one_entry_or_says_what_is_wrong(tmp_path):
    entry = {"column_names_original": [[-1, "*"]], "table_names_original": [], "foreign_keys": []}
    path = tmp_path / "tables.json"
    path.write_text(json.dumps([{**entry, "db_id": "a"}, {**entry, "db_id": "ab", "note": {"db_id": "c"}}]))
    assert TablesJson(path).entry("ab")["note"] == {"db_id": "c"}
    with pytest.raises(KitError, match="no entry for database 'c'"):
        TablesJson(path).entry("c")
    path.write_text("[1]")
    with pytest.raises(KitError, match="not a tables.json"):
        TablesJson(path).entry("a")
    with pytest.raises(KitError, match="cannot be read"):
        TablesJson(tmp_path / "none.json")


@given(st.lists(st.sampled_from(WORDS), max_size=30))
@settings(max_examples=CASES)
def test_fuzz_words_get_a_verdict_and_strict_only_takes_away(words):
    gold, predicted = TURNS[2].sql, "select name from " + " ".join(words)
    result = exact_match(gold, predicted, SCHEMA)
    assert not exact_match(gold, predicted, SCHEMA, "strict").match or result.match
    if result.parsed:
        assert exact_match(predicted, predicted, SCHEMA).match
        assert hardness(predicted, SCHEMA) in ("easy", "medium", "hard", "extra")


@given(st.text() | st.lists(st.sampled_from(WORDS) | st.text(max_size=3)).map("".join))
@settings(max_examples=CASES)
def test_fuzz_any_text_gets_a_verdict(text):
    assert exact_match("SELECT Name FROM Ferry", text, SCHEMA).match in (False, True)
    assert clauses(text, SCHEMA) is None or exact_match(text, text, SCHEMA, "strict").match


def test_deep_nesting_is_unparsable_not_a_crash(schema):
    deep = "SELECT Name FROM Ferry WHERE Name IN (" * 5000
    assert not exact_match("SELECT Name FROM Ferry", deep, schema).parsed
