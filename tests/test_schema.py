"""Schemas: what is read from SQLite, its two linear forms, and names folded to the compact spelling."""

import sqlite3

import pytest
from harbour import make_database
from hypothesis import given
from hypothesis import strategies as st

from mtsql_lib.errors import KitError
from mtsql_lib.schema import Schema, SchemaColumn, fold_name, fold_names, quoted, read_schema, schema_of


def schema(script: str) -> Schema:
    connection = sqlite3.connect(":memory:")
    connection.executescript(script)
    return schema_of(connection, "x")


def test_the_compact_form_is_one_line_a_table(tmp_path):
    read = read_schema(make_database(tmp_path), "harbour")
    assert read.linear("compact").splitlines() == [
        "# port: port_id, name",
        "# ferry: ferry_id, name, flag, built, home_port_id = port.port_id",
    ]
    assert repr(read) == f"Schema harbour\n{read.linear('compact')}"


def test_the_full_form_is_sql_that_makes_the_same_schema(tmp_path):
    read = read_schema(make_database(tmp_path), "harbour")
    again = schema(";".join(read.linear("full").splitlines()))
    assert again.tables == read.tables
    assert read.tables[1].columns[4] == SchemaColumn("home_port_id", "INTEGER", ("Port", "Port_ID"))
    assert read.tables[1].primary_key == ("Ferry_ID",)


def test_a_reference_without_a_column_means_the_primary_key():
    read = schema("CREATE TABLE a (k INTEGER PRIMARY KEY); CREATE TABLE b (a_id REFERENCES a)")
    assert read.linear("compact") == "# a: k\n# b: a_id = a.k"


def test_names_that_are_no_identifiers_are_quoted():
    read = schema('CREATE TABLE "Odd Table" ("a b" TEXT, "c""d" TEXT)')
    assert read.linear("compact") == '# "odd table": "a b", "c""d"'
    assert quoted("plain_1") == "plain_1" and quoted("1st") == '"1st"'


def test_sqlites_own_tables_are_left_out():
    read = schema("CREATE TABLE a (k INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES (1)")
    assert [table.name for table in read.tables] == ["a"]


def test_a_path_with_url_characters_opens(tmp_path):
    folder = make_database(tmp_path / "50% of #1?")
    assert len(read_schema(folder, "harbour").tables) == 2


def test_reading_leaves_no_trace(tmp_path):
    folder = make_database(tmp_path)
    file = folder / "harbour" / "harbour.sqlite"
    before = file.read_bytes()
    read_schema(folder, "harbour")
    assert file.read_bytes() == before and [f.name for f in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "is missing: no file"),
        (b"no database at all, but long enough", "not a readable"),
        (b"", "without a table"),
    ],
)
def test_a_database_that_cannot_be_read_is_one_sentence(tmp_path, content, says):
    if content is not None:
        (tmp_path / "bad").mkdir()
        (tmp_path / "bad" / "bad.sqlite").write_bytes(content)
    with pytest.raises(KitError, match=says) as caught:
        read_schema(tmp_path, "bad")
    assert "bad.sqlite" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("sql", "folded"),
    [
        ("SELECT Name FROM Ferry WHERE Flag = 'NOR'", "SELECT name FROM ferry WHERE flag = 'NOR'"),
        ("SELECT COUNT(*), T1.Name FROM Ferry AS T1", "SELECT count(*), t1.name FROM ferry AS t1"),
        ("SELECT \"Odd Name\" FROM T WHERE A = 'It''s B'", "SELECT \"Odd Name\" FROM t WHERE a = 'It''s B'"),
        ("SELECT a FROM T ORDER BY B DESC LIMIT 1", "SELECT a FROM t ORDER BY b DESC LIMIT 1"),
    ],
)
def test_names_fold_and_literals_and_keywords_stay(sql, folded):
    assert fold_names(sql) == folded


@given(st.text(alphabet="aB_1 '\"=(),.", max_size=60))
def test_folding_twice_is_folding_once_and_changes_letters_case_only(sql):
    once = fold_names(sql)
    assert fold_names(once) == once and once.lower() == sql.lower()


def test_folded_gold_means_the_same_to_sqlite(tmp_path):
    connection = sqlite3.connect(make_database(tmp_path) / "harbour" / "harbour.sqlite")
    sql = "SELECT Ferry.Name FROM Ferry JOIN Port ON Ferry.home_port_id = Port.Port_ID WHERE Flag = 'NOR'"
    assert connection.execute(sql).fetchall() == connection.execute(fold_names(sql)).fetchall() != []


@pytest.mark.parametrize(
    ("name", "folded"),
    [
        ("Flag_State", "flag_state"),
        ("FlagState", "FlagState"),
        ("flagState", "flagState"),
        ("ID", "id"),
        ("Name", "name"),
    ],
)
def test_camel_case_keeps_the_capitals_that_part_its_words(name, folded):
    assert fold_name(name) == folded
