"""The hand-designed databases: every one loads, fills, and keeps to the counts that the corpora rely on."""

import random
import re
from pathlib import Path

import pytest

from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, cell_values, load_spec, populate

FOLDER = Path(__file__).parent.parent / "data" / "sources"
SOURCES = [load_spec(path) for path in sorted(FOLDER.glob("*.toml"))]
every_source = pytest.mark.parametrize("spec", SOURCES, ids=lambda spec: spec.id)


def mismatch(column: ColumnSpec) -> bool:
    """True if most values of the column are typed differently from how they are stored."""
    return 2 * sum(value.stored != value.spoken for value in column.values) >= len(column.values)


def pools(spec: DatabaseSpec) -> list[ColumnSpec]:
    return [c for table in spec.tables for c in table.columns if c.kind in ("category", "label")]


def test_ids_are_unique_and_the_folder_is_not_empty() -> None:
    ids = [spec.id.lower() for spec in SOURCES]
    assert len(ids) == len(set(ids)) >= 14
    assert {spec.split for spec in SOURCES} <= {"train", "dev"}


@every_source
def test_sizes(spec: DatabaseSpec) -> None:
    assert 3 <= len(spec.tables) <= 6
    assert all(3 <= len(table.columns) <= 7 for table in spec.tables)
    assert 30 <= sum(table.rows for table in spec.tables) <= 2000
    for column in pools(spec):
        low, high = (4, 12) if column.kind == "category" else (9, 45)
        assert low <= len(column.values) <= high, column.name


@every_source
def test_rows_are_sound(spec: DatabaseSpec) -> None:
    connection = populate(spec, random.Random(11))
    try:
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in spec.tables:
            assert connection.execute(f"SELECT count(*) FROM {table.name}").fetchone() == (table.rows,)
            for column in (c for c in table.columns if c.values):
                found = connection.execute(f"SELECT DISTINCT {column.name} FROM {table.name}").fetchall()
                known = {value.stored for value in cell_values(table, column)}
                known |= {None} if column.null_share else set()
                assert {cell for (cell,) in found} <= known, (table.name, column.name)
            if table.bridge:
                pair = ", ".join(ref.name for ref in table.refs[:2])
                distinct = f"SELECT count(*) FROM (SELECT DISTINCT {pair} FROM {table.name})"
                assert connection.execute(distinct).fetchone() == (table.rows,)
    finally:
        connection.close()


@every_source
def test_most_tables_hang_together(spec: DatabaseSpec) -> None:
    linked = {name for table in spec.tables for ref in table.refs for name in (table.name, ref.to)}
    assert len(linked) >= max(3, len(spec.tables) - 1), "join questions need tables that refer to each other"


@every_source
def test_a_database_holds_what_makes_questions_hard(spec: DatabaseSpec) -> None:
    columns = [column for table in spec.tables for column in table.columns]
    names = [column.name.lower() for column in columns if column.kind not in ("key", "ref")]
    assert any(mismatch(c) for c in pools(spec)) and not all(mismatch(c) for c in pools(spec))
    assert any(c.null_share for c in columns)
    assert any(c.kind in ("year", "date") for c in columns) and any(c.kind == "number" for c in columns)
    shared = len(names) > len(set(names))
    suffixes = [re.split(r"[_ ]", name)[-1] for name in names]
    assert shared or len(suffixes) > len(set(suffixes)), "no two columns have a name that could be confused"


def test_about_a_quarter_of_the_columns_store_what_nobody_types() -> None:
    columns = [column for spec in SOURCES for column in pools(spec)]
    assert 0.2 <= sum(mismatch(column) for column in columns) / len(columns) <= 0.35


def test_half_of_the_databases_have_a_bridge_table() -> None:
    assert 2 * sum(any(table.bridge for table in spec.tables) for spec in SOURCES) >= len(SOURCES)
