"""Which cuts are arbitrary: small tables where one can see it."""

import sqlite3

import pytest

from mtsql_lib.executor import Executor


@pytest.fixture(scope="module")
def executor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ties")
    (folder / "zoo").mkdir()
    connection = sqlite3.connect(folder / "zoo" / "zoo.sqlite")
    connection.executescript(
        """CREATE TABLE animal (id INTEGER PRIMARY KEY, name TEXT, kind TEXT, age INTEGER);
        INSERT INTO animal (name, kind, age) VALUES
            ('Ann', 'owl', 9), ('Bob', 'owl', 7), ('Cid', 'fox', 7), ('Dot', 'fox', 7), ('Eva', 'elk', 3),
            ('Eva', 'elk', 2), ('Fay', 'ape', 2), ('Gus', 'bee', NULL), ('Hal', 'ant', NULL);"""
    )
    connection.close()
    with Executor(folder) as made:
        yield made


@pytest.mark.parametrize(
    "sql, tie",
    [
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 1", False),
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 2", True),
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 4", False),
        ("SELECT name FROM animal ORDER BY age DESC, name LIMIT 2", False),
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 1 OFFSET 1", True),
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 1, 1", True),
        ("SELECT name FROM animal ORDER BY age DESC LIMIT 2 OFFSET 2", True),  # the first row is as arbitrary
        ("SELECT name FROM animal ORDER BY age LIMIT 1", True),  # NULLs are one key
        ("SELECT name FROM animal ORDER BY age LIMIT 100", False),
        ("SELECT name FROM animal ORDER BY age LIMIT 0", False),
        ("SELECT name FROM animal ORDER BY age LIMIT -1", False),
        ("SELECT name FROM animal ORDER BY age", False),
        ("SELECT name FROM animal LIMIT 1", False),
        ("SELECT name FROM animal ORDER BY 1 DESC LIMIT 1", False),
        ("SELECT kind, name FROM animal ORDER BY 1 LIMIT 6", True),
        (
            "SELECT name FROM animal WHERE kind = 'elk' ORDER BY kind LIMIT 1",
            False,
        ),  # equal, but look the same
        ("SELECT kind FROM animal WHERE age = 7 ORDER BY age LIMIT 2", True),
        ("SELECT kind FROM animal GROUP BY kind ORDER BY count(*) DESC LIMIT 1", True),
        ("SELECT kind , count ( * ) FROM animal GROUP BY kind ORDER BY count(*) DESC LIMIT 3", False),
        ("SELECT kind, count(*) AS n FROM animal GROUP BY kind ORDER BY n DESC LIMIT 1", True),
        ('SELECT kind, count(*) AS n FROM animal GROUP BY kind ORDER BY "n" DESC LIMIT 3', False),
        ("SELECT DISTINCT age FROM animal ORDER BY age DESC LIMIT 2", False),
        ("SELECT name AS age FROM animal ORDER BY age LIMIT 1", False),  # the key is the result's column
        ("SELECT a.name FROM animal AS a JOIN animal AS b ON a.id = b.id ORDER BY b.age DESC LIMIT 2", True),
        ("SELECT a.name FROM animal AS a JOIN animal AS b ON a.id = b.id ORDER BY b.id DESC LIMIT 2", False),
        ("SELECT name FROM animal ORDER BY (SELECT max(age) FROM animal) - age LIMIT 1", True),
        ("SELECT name FROM animal ORDER BY max(age, 7), name LIMIT 2", False),
        ("SELECT name FROM animal ORDER BY age DESC NULLS LAST LIMIT 2", True),
        ("SELECT name FROM animal WHERE kind IN (SELECT kind FROM animal ORDER BY age LIMIT 1)", False),
        (
            "SELECT name FROM (SELECT name, age FROM animal ORDER BY name LIMIT 5) ORDER BY age DESC LIMIT 2",
            True,
        ),
        ("WITH old AS (SELECT * FROM animal WHERE age > 2) SELECT name FROM old ORDER BY age LIMIT 2", True),
        ("SELECT name FROM animal UNION SELECT kind FROM animal ORDER BY name LIMIT 2", False),
        (
            "SELECT age, name FROM animal UNION ALL SELECT age, kind FROM animal ORDER BY age DESC LIMIT 1",
            True,
        ),
        ("SELECT 'order by age limit 1' FROM animal ORDER BY id LIMIT 2 -- limit 1", False),
        ("select name from animal order by age desc limit 2", True),
    ],
)
def test_ties(executor, sql, tie):
    outcome = executor.execute("zoo", sql)
    assert outcome.ok
    assert outcome.tie is tie


def test_a_tie_changes_nothing_in_the_rows(executor):
    outcome = executor.execute("zoo", "SELECT name FROM animal ORDER BY age DESC LIMIT 2")
    before = outcome.rows
    assert outcome.tie and outcome.rows is before and len(before) == 2
