"""Execution match: what the official comparison overlooks, what strict mode adds, columns, many files."""

import json
import random
from collections import Counter
from itertools import permutations, product
from pathlib import Path

import pytest
from harbour import SCRIPT, make_database
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.execution_match import database_files, execution_match, is_ordered, same_rows, same_text
from mtsql_lib.executor import Executor
from mtsql_lib.sql_text import first_statement, lex, without_distinct
from mtsql_lib.value_slots import fillings

GOLDEN = Path(__file__).parent / "golden" / "execution_match.jsonl"
CASES = [json.loads(line) for line in GOLDEN.open(encoding="utf-8")]
FLAGS = "SELECT Flag FROM Ferry"
DENMARK = "UPDATE Ferry SET Flag = 'DEN' WHERE built < 2000;"


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    folder = make_database(tmp_path_factory.mktemp("databases"))
    make_database(folder, "suite")
    other = make_database(
        tmp_path_factory.mktemp("other"),
        "suite",
        SCRIPT + "UPDATE Ferry SET Flag = 'DEN' WHERE built < 2000;",
    )
    (other / "suite" / "suite.sqlite").rename(folder / "suite" / "second.sqlite")
    (folder / "suite" / "suite.sqlite-wal").touch()
    with Executor(folder) as made:
        yield made


@pytest.mark.parametrize("case", CASES, ids=[case["rule"] for case in CASES])
def test_verdicts(executor, case):
    for mode in ("official", "strict"):
        result = execution_match(executor, "harbour", case["gold"], case["pred"], mode)
        assert [result.status, result.match] == case[mode], (mode, result)


def test_keep_distinct(executor):
    distinct = "SELECT DISTINCT Flag FROM Ferry"
    assert not execution_match(executor, "harbour", FLAGS, distinct, keep_distinct=True).match
    assert execution_match(executor, "harbour", distinct, distinct, keep_distinct=True).match


def test_messages_say_what_failed(executor):
    assert "Colour" in execution_match(executor, "harbour", FLAGS, "SELECT Colour FROM Ferry").message
    assert execution_match(executor, "nowhere", FLAGS, FLAGS).message.startswith("missing_database")


def test_every_file_of_a_folder_counts(executor):
    assert database_files(str(executor.databases), "suite") == ("suite/second.sqlite", "suite")
    gold, lucky = "SELECT Name FROM Ferry WHERE Flag = 'NOR'", "SELECT Name FROM Ferry WHERE home_port_id = 1"
    assert execution_match(executor, "harbour", gold, lucky).match
    result = execution_match(executor, "suite", gold, lucky)
    assert (result.match, result.status, result.files) == (False, "mismatch", 2)
    assert execution_match(executor, "suite", gold, gold).match


def test_a_suite_is_vacuous_only_if_every_file_is(executor):
    gold, other = (
        "SELECT Name FROM Ferry WHERE Flag = 'DEN'",
        "SELECT Name FROM Ferry WHERE Flag IN ('DEN', 'den')",
    )
    assert execution_match(executor, "harbour", gold, other).status == "vacuous"
    assert execution_match(executor, "suite", gold, other, "strict") == execution_match(
        executor, "suite", gold, other
    )


def test_gold_values_can_be_plugged_in(executor):
    gold = "SELECT Name FROM Ferry WHERE Flag = 'NOR' AND built > 2000"
    predicted = "SELECT Name FROM Ferry WHERE Flag = 'norway' AND built > 5"
    assert not execution_match(executor, "harbour", gold, predicted).match
    assert execution_match(executor, "harbour", gold, predicted, plug_value=True).match
    assert len(set(fillings(gold, predicted))) == 4
    assert "select name from ferry where flag = 'NOR' and built > 2000" in set(fillings(gold, predicted))


# Comparison of results


def brute_force(wanted, given, ordered):
    """The definition: some permutation of the columns makes the results equal."""
    if len(wanted) != len(given):
        return False
    if not wanted:
        return True
    if len(wanted[0]) != len(given[0]):
        return False
    for order in permutations(range(len(wanted[0]))):
        rows = [tuple(row[n] for n in order) for row in given]
        if list(wanted) == rows or not ordered and Counter(wanted) == Counter(rows):
            return True
    return False


CELLS = st.sampled_from([0, 1, 2, "a", "b", None])
RESULTS = st.integers(1, 4).flatmap(lambda width: st.lists(st.tuples(*[CELLS] * width), max_size=5))


@given(RESULTS, RESULTS, st.booleans())
def test_same_rows_is_the_definition(wanted, given_rows, ordered):
    wanted, given_rows = tuple(wanted), tuple(given_rows)
    assert same_rows(wanted, given_rows, ordered) == brute_force(wanted, given_rows, ordered)


@given(RESULTS, st.randoms(use_true_random=False), st.booleans())
def test_permuted_columns_and_rows_are_the_same_result(wanted, rng, ordered):
    width = len(wanted[0]) if wanted else 0
    order = rng.sample(range(width), width)
    rows = [tuple(row[n] for n in order) for row in wanted]
    if not ordered:
        rng.shuffle(rows)
    assert same_rows(tuple(wanted), tuple(rows), ordered)


def test_many_columns_alike_take_no_factorial_time():
    rows = tuple(product((0, 1), repeat=9))
    other = tuple(tuple(1 - cell for cell in row) for row in rows)
    assert same_rows(rows, other, ordered=False)
    rng = random.Random(1)
    noise = tuple(tuple(rng.randrange(2) for _ in range(12)) for _ in range(200))
    columns = [rng.sample(column, len(column)) for column in zip(*noise, strict=True)]
    assert not same_rows(noise, tuple(zip(*columns, strict=True)), ordered=False)


# Text


@pytest.mark.parametrize(
    "text, expected",
    [
        ("SELECT DISTINCT a FROM t", "SELECT a FROM t"),
        ("SELECT count(distinct a)", "SELECT count(a)"),
        ("SELECT 'distinct', \"DISTINCT x\"", "SELECT 'distinct', \"DISTINCT x\""),
        ("SELECT a -- distinct\n, DISTINCT b", "SELECT a -- distinct\n,  b"),
        (
            "SELECT [distinct], `distinct`, distinct_x FROM t",
            "SELECT [distinct], `distinct`, distinct_x FROM t",
        ),
        ("SELECT DISTINCT a; SELECT b", "SELECT a;"),
        ("SELECT (a; b", "SELECT (a; b"),
    ],
)
def test_distinct_goes_and_so_does_a_second_statement(text, expected):
    assert without_distinct(text) == expected


@given(st.text())
def test_pieces_join_to_the_text(text):
    assert "".join(piece for _, piece in lex(text)) == text
    assert text.startswith(first_statement(text))


def test_ordered_is_about_the_outermost_query():
    assert is_ordered("SELECT a FROM t ORDER\n BY a")
    assert is_ordered("SELECT a FROM (SELECT a FROM t) UNION SELECT b FROM u /* x */ order by 1")
    assert not is_ordered("SELECT a FROM (SELECT a FROM t ORDER BY a) WHERE b = 'order by'")


def test_same_text_overlooks_what_means_nothing():
    assert same_text("SELECT a FROM t;", "select  A\nfrom t -- x")
    assert not same_text("SELECT 'a'", "SELECT 'A'")
