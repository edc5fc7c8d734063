"""Statements as text: one spelling without a change of meaning, and how far a statement expands."""

import sqlite3

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.statements import expansion, normalise, tokens

PIECES = st.lists(
    st.sampled_from(
        ["a", "1", "'", '"', "`", "[", "]", "--", "/*", "*/", " ", "  ", "\n", "\t", ";", ",", "x'0  0'"]
    )
)


@pytest.mark.parametrize(
    "sql, normal",
    [
        ("SELECT  1", "SELECT 1"),
        ("\n SELECT\t\n1 ;; \n", "SELECT 1"),
        ("SELECT 'a  b',  \"c\n d\"", "SELECT 'a  b', \"c\n d\""),
        ("SELECT 'it''s  x',  `a  b`,  [c  d]", "SELECT 'it''s  x', `a  b`, [c  d]"),
        ("SELECT 1 -- no\n, 2", "SELECT 1 -- no\n, 2"),
        ("SELECT 1 /*  */  ", "SELECT 1 /*  */"),
        ("SELECT\u00a0 1\u3000", "SELECT\u00a0 1\u3000"),
    ],
)
def test_normalise(sql, normal):
    assert normalise(sql) == normal
    assert normalise(normal) == normal


@given(PIECES.map("".join))
def test_normalise_keeps_the_meaning(text):
    """What SQLite says of a select list, rows or error, it says of the normal form."""

    def told(sql: str) -> object:
        try:
            return connection.execute(sql).fetchall()
        except (sqlite3.Error, sqlite3.Warning) as error:
            return type(error)

    connection = sqlite3.connect(":memory:")
    sql = f"SELECT 'x' || {text}"
    assert told(normalise(sql)) == told(sql.rstrip(" \n\t;"))
    assert normalise(normalise(sql)) == normalise(sql)
    connection.close()


@given(st.text() | PIECES.map("".join))
def test_tokens_cover_any_text(text):
    found = list(tokens(text))
    assert all(text[token.start : token.end] == token.text for token in found)
    assert all(one.end <= two.start for one, two in zip(found, found[1:], strict=False))
    expansion(text)


def chain(body: str, length: int, first: str = "SELECT name AS x FROM ship") -> str:
    """CTEs c0, c1, ... where each reads the one before as {0}."""
    links = [f"c{n} AS ({body.format(f'c{n - 1}') if n else first})" for n in range(length)]
    return "WITH " + ", ".join(links) + f" SELECT * FROM c{length - 1}"


@pytest.mark.parametrize(
    "sql, selects",
    [
        ("SELECT 1", 1),
        ("SELECT name FROM ship WHERE id IN (SELECT id FROM ship)", 2),
        (chain("SELECT x FROM {0}", 10), 11),
        (chain("SELECT a.x FROM {0} AS a JOIN {0} AS b ON a.x = b.x", 10), 1024),
        (chain("SELECT x FROM {0} WHERE x IN (SELECT x FROM {0}) AND x IN {0}", 5), 162),
        ("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n", 3),
        ("WITH b AS (SELECT * FROM a, a), a AS (SELECT 1) SELECT * FROM b, b", 7),
    ],
)
def test_selects(sql, selects):
    found = expansion(sql).selects
    assert selects <= found <= 1.5 * selects + 1


def test_names_grow_only_where_a_column_is_copied():
    assert expansion(chain("SELECT x || x AS x FROM {0}", 20)).names > 2**19
    assert expansion(chain("SELECT *, x FROM {0}", 20)).names > 2**19
    assert expansion(chain("SELECT x, count(*) AS x FROM {0} GROUP BY x", 20)).names < 100
    assert expansion(chain("SELECT x AS x FROM {0} WHERE x > x", 20)).names < 100
    nested = "SELECT x || x FROM " + "(SELECT x || x AS x FROM " * 20 + "ship" + ")" * 20
    assert expansion(nested).names > 2**20


def test_an_honest_chain_of_ctes_is_far_from_the_limit():
    """Eight steps, each with a join of two earlier ones, aggregates and a filter."""
    step = (
        "SELECT {0}.id, {0}.name, sum({0}.weight) AS weight, count(*) AS n "
        "FROM {0} JOIN ship ON {0}.id = ship.id WHERE {0}.weight > 3 AND {0}.name LIKE 'a%' "
        "GROUP BY {0}.id, {0}.name HAVING count(*) > 1"
    )
    found = expansion(chain(step, 8))
    assert found.selects < 50 and found.names < 500
