"""What follows an error about a name that does not exist."""

import sqlite3

import pytest

from mtsql_lib.hints import hint
from mtsql_lib.schema import schema_of
from tests.harbour import SCRIPT


@pytest.fixture(scope="module")
def schema():
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCRIPT)
    return schema_of(connection, "harbour")


FERRY = "ferry: ferry_id, name, flag, built, home_port_id"
PORT = "port: port_id, name"


@pytest.mark.parametrize(
    ("message", "sql", "told"),
    [
        ("no such column: nam", "SELECT nam FROM Ferry", f"perhaps name; {FERRY}"),
        ("no such column: flag", "SELECT flag FROM port", f"{PORT}; flag is in ferry"),
        ("no such column: port.Built", "SELECT 1 FROM ferry JOIN port", f"{PORT}; built is in ferry"),
        ("no such column: f.nam", "SELECT f.nam FROM ferry AS f", f"perhaps name; {FERRY}"),
        ("no such column: x", "SELECT x FROM ferry JOIN port ON 1", f"{PORT}; {FERRY}"),
        ("no such table: ship", "SELECT * FROM ship", "tables: port, ferry"),
        ("no such table: ferries", "SELECT * FROM ferries", "perhaps ferry; tables: port, ferry"),
        ("ambiguous column name: name", "SELECT name FROM ferry JOIN port", ""),
        ('near "FORM": syntax error', "SELECT name FORM ferry", ""),
        ("", "", ""),
    ],
)
def test_a_hint_names_what_there_is(schema, message, sql, told):
    assert hint(message, sql, schema) == told


def test_a_hint_is_short():
    connection = sqlite3.connect(":memory:")
    connection.execute(f"CREATE TABLE wide ({', '.join(f'column_{n}' for n in range(90))})")
    told = hint("no such column: x", "SELECT x FROM wide", schema_of(connection, "wide"))
    assert len(told) < 220 and told.endswith(" ...") and "column_5," in told


@pytest.mark.parametrize(
    "sql", ["SELECT nam FROM Ferry", "SELECT Ferry.nam FROM Ferry", "SELECT 1 FROM Ship"]
)
def test_a_message_of_sqlite_is_understood(schema, sql):
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCRIPT)
    with pytest.raises(sqlite3.OperationalError) as caught:
        connection.execute(sql)
    assert hint(str(caught.value), sql, schema)
