"""Specs: what is read, what is refused, and the rows that come out."""

import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsql_lib.errors import KitError
from mtsql_lib.world.spec import (
    ColumnSpec,
    DatabaseSpec,
    TableSpec,
    Value,
    cell_values,
    check_spec,
    load_spec,
    populate,
)

HARBOUR = """
id = "harbour"
topic = "a small harbour"
split = "train"

[[table]]
name = "Berth"
one = "berth"
many = "berths"
rows = 5
[[table.column]]
name = "Berth_ID"
kind = "key"
[[table.column]]
name = "side"
kind = "flag"
phrase = "side"
values = [["N", "north"], ["S", "south"]]

[[table]]
name = "Boat"
one = "boat"
many = "boats"
rows = 40
[[table.column]]
name = "Boat_ID"
kind = "key"
[[table.column]]
name = "Name"
kind = "label"
phrase = "name"
values = ["Blue Gull", "Red Star", ["SEAL", "seal"]]
[[table.column]]
name = "berth_id"
kind = "ref"
to = "Berth"
null_share = 0.3
[[table.column]]
name = "Length"
kind = "number"
phrase = "length"
low = 4.5
high = 20
decimals = 1
unit = "metres"
most = "longest"
[[table.column]]
name = "Built"
kind = "year"
phrase = "year of construction"
verb = "built in {}"
low = 1960
high = 2020
[[table.column]]
name = "inspected"
kind = "date"
phrase = "last inspection"
low = 2019
high = 2021

[[table]]
name = "Stay"
one = "stay"
many = "stays"
rows = 60
verb = "moors at"
[[table.column]]
name = "boat_id"
kind = "ref"
to = "Boat"
[[table.column]]
name = "berth_id"
kind = "ref"
to = "Berth"
"""


def written(folder: Path, text: str = HARBOUR, name: str = "harbour") -> Path:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture()
def harbour(tmp_path: Path) -> DatabaseSpec:
    return load_spec(written(tmp_path))


def rows(spec: DatabaseSpec, sql: str, seed: int = 0) -> list[tuple]:
    connection = populate(spec, random.Random(seed))
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def test_a_file_becomes_records(harbour: DatabaseSpec) -> None:
    boat = harbour.table("boat")
    assert [table.name for table in harbour.tables] == ["Berth", "Boat", "Stay"]
    assert (
        boat.key.name == "Boat_ID"
        and boat.label.name == "Name"
        and [ref.to for ref in boat.refs] == ["Berth"]
    )
    assert harbour.column("Boat", "name").values[2] == Value("SEAL", "seal")
    assert harbour.column("Boat", "Name").values[0] == Value("Blue Gull", "Blue Gull")
    assert harbour.table("Stay").bridge and not boat.bridge
    assert harbour.table("Stay").key is None


def test_a_missing_name_lists_what_there_is(harbour: DatabaseSpec) -> None:
    with pytest.raises(KitError, match="no table Ship; its tables: Berth, Boat, Stay"):
        harbour.table("Ship")
    with pytest.raises(KitError, match="no column Width"):
        harbour.column("Boat", "Width")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('id = "harbour"', 'id = "port"', "same name"),
        ('split = "train"', 'split = "test"', "split"),
        ('topic = "a small harbour"', 'topik = "x"', "unknown key 'topik'"),
        ('topic = "a small harbour"', "", "topic"),
        ('one = "boat"\n', "", "table Boat.*one"),
        ("rows = 5", "rows = 0", "table Berth.*rows"),
        ("rows = 5", 'rows = "5"', "table Berth.*rows must be int"),
        ("rows = 5", "rows = true", "table Berth.*rows must be int"),
        ("rows = 60", "rows = 201", "distinct pairs"),
        ('verb = "moors at"', "", "table Stay.*no key"),
        ('name = "Length"', 'name = "Order"', "column Order.*keyword"),
        ('name = "Length"', 'name = "total_value"', "total_value.*'value'"),
        ('name = "Length"', 'name = "Len (m)"', "column Len"),
        ('name = "Length"', 'name = "NAME"', "two columns are called NAME"),
        ('name = "Berth"', 'name = "boat"', "two tables"),
        ('kind = "number"', 'kind = "float"', "column Length.*kind"),
        ('phrase = "length"', "", "column Length.*phrase"),
        ('phrase = "length"', 'phrase = "length"\nphrases = ["length"]', "column Length.*phrases"),
        ('phrase = "length"', 'phrase = "length"\nphrases = "size"', "column Length.*phrases must be"),
        ('unit = "metres"', 'units = "metres"', "column Length.*units"),
        ("high = 20\n", "high = 4\n", "column Length.*low"),
        ("decimals = 1", "decimals = 0", "column Length.*whole"),
        ('verb = "built in {}"', 'verb = "built in"', "column Built.*verb"),
        ('to = "Berth"\nnull_share = 0.3', 'to = "Pier"\nnull_share = 0.3', "column berth_id.*to is 'Pier'"),
        ("null_share = 0.3", "null_share = 1.3", "column berth_id.*null_share"),
        ('["N", "north"], ["S", "south"]', '["N", "north"], ["S", "North"]', "side.*more than one"),
        ('["N", "north"], ["S", "south"]', '["N", "north"]', "column side.*flag"),
        ('["SEAL", "seal"]', '["O\'Brien", "obrien"]', "column Name.*quotes"),
        ('["SEAL", "seal"]', '["SEAL", "seal", "x"]', "column Name.*pair"),
        ('["SEAL", "seal"]', "3", "column Name.*values"),
        ('["SEAL", "seal"]', "true", "column Name.*value True"),
        ('most = "longest"', 'most = "longest"\nvalues = ["a", "b"]', "column Length.*values"),
    ],
)
def test_a_fault_is_refused_and_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    assert old in HARBOUR
    with pytest.raises(KitError, match=words) as caught:
        load_spec(written(tmp_path, HARBOUR.replace(old, new, 1)))
    assert str(caught.value).startswith("harbour.toml: ")


def test_a_broken_or_missing_file_is_one_clear_sentence(tmp_path: Path) -> None:
    with pytest.raises(KitError, match="harbour.toml: cannot be read as TOML"):
        load_spec(written(tmp_path, "id = "))
    with pytest.raises(KitError, match="none.toml: cannot be read"):
        load_spec(tmp_path / "none.toml")


def test_same_seed_same_rows(harbour: DatabaseSpec) -> None:
    everything = "SELECT * FROM Boat JOIN Stay ON Boat.Boat_ID = Stay.boat_id"
    assert rows(harbour, everything, 3) == rows(harbour, everything, 3) != rows(harbour, everything, 4)


def test_rows_keep_to_the_spec(harbour: DatabaseSpec) -> None:
    assert rows(harbour, "SELECT Boat_ID FROM Boat") == [(n,) for n in range(1, 41)]
    outside = "Length < 4.5 OR Length > 20 OR round(Length, 1) != Length"
    assert rows(harbour, f"SELECT count(*) FROM Boat WHERE {outside}") == [(0,)]
    assert rows(harbour, "SELECT count(*) FROM Boat WHERE Built < 1960 OR Built > 2020") == [(0,)]
    dates = [text for (text,) in rows(harbour, "SELECT inspected FROM Boat")]
    assert all("2019-01-01" <= text <= "2021-12-31" and len(text) == 10 for text in dates)
    assert {side for (side,) in rows(harbour, "SELECT side FROM Berth")} <= {"N", "S"}
    assert 0 < rows(harbour, "SELECT count(*) FROM Boat WHERE berth_id IS NULL")[0][0] < 40
    assert rows(harbour, "PRAGMA foreign_key_check") == []


def test_keys_and_types_are_declared(harbour: DatabaseSpec) -> None:
    columns = {row[1]: (row[2], row[5]) for row in rows(harbour, "PRAGMA table_info(Boat)")}
    assert columns["Boat_ID"] == ("INTEGER", 1)
    assert columns["Length"] == ("REAL", 0) and columns["Name"] == ("TEXT", 0)
    foreign = [row[2:5] for row in rows(harbour, "PRAGMA foreign_key_list(Boat)")]
    assert foreign == [("Berth", "berth_id", "Berth_ID")]
    assert [row[5] for row in rows(harbour, "PRAGMA table_info(Stay)")] == [1, 2]


def test_labels_go_on_after_the_pool_and_can_be_looked_up(harbour: DatabaseSpec) -> None:
    boat = harbour.table("Boat")
    spoken = {value.stored: value.spoken for value in cell_values(boat, boat.label)}
    cells = [name for (name,) in rows(harbour, "SELECT Name FROM Boat")]
    assert set(cells) <= set(spoken) and len(set(cells)) > 30
    assert spoken["Blue Star"] == "Blue Star" and spoken["SEAL 2"] == "seal 2"
    assert {"Blue Gull", "Red Star", "SEAL"} <= {value.stored for value in cell_values(boat, boat.label)[:3]}


def test_a_full_bridge_table_still_has_distinct_pairs(harbour: DatabaseSpec) -> None:
    stay = replace(harbour.table("Stay"), rows=200)
    full = replace(harbour, tables=(*harbour.tables[:2], stay))
    check_spec(full)
    assert rows(full, "SELECT count(*) FROM Stay") == [(200,)]


def test_two_refs_to_one_table_differ() -> None:
    key = ColumnSpec("id", "key")
    refs = (ColumnSpec("white", "ref", to="player"), ColumnSpec("black", "ref", to="player"))
    chief = ColumnSpec("coach_id", "ref", to="player")
    player = TableSpec("player", "player", "players", 4, (key, chief))
    for verb in ("", "meets"):
        game = TableSpec("game", "game", "games", 10, (key, *refs), verb)
        spec = DatabaseSpec("chess", "chess", "world", (player, game))
        check_spec(spec)
        assert rows(spec, "SELECT count(*) FROM game WHERE white = black") == [(0,)]
        assert rows(spec, "SELECT count(*) FROM player WHERE coach_id = id") == [(0,)]


def test_refs_are_skewed_and_leave_parents_out() -> None:
    key = ColumnSpec("id", "key")
    town = TableSpec("town", "town", "towns", 20, (key,))
    house = TableSpec("house", "house", "houses", 400, (key, ColumnSpec("town_id", "ref", to="town")))
    spec = DatabaseSpec("land", "a land", "world", (town, house))
    counts = [n for (n,) in rows(spec, "SELECT count(*) FROM house GROUP BY town_id ORDER BY count(*)")]
    assert len(counts) < 20 and counts[-1] > 4 * counts[0]


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    low=st.integers(-50, 50),
    span=st.integers(1, 5000),
    decimals=st.integers(0, 3),
)
def test_numbers_and_years_stay_within_their_bounds(seed: int, low: int, span: int, decimals: int) -> None:
    number = ColumnSpec("n", "number", "n", low=low, high=low + span, decimals=decimals)
    year = ColumnSpec("y", "year", "y", low=low + 100, high=low + 100 + span)
    table = TableSpec("t", "t", "ts", 30, (ColumnSpec("id", "key"), number, year))
    spec = DatabaseSpec("d", "d", "world", (table,))
    for cell, when in rows(spec, "SELECT n, y FROM t", seed):
        assert low <= cell <= low + span and round(cell, decimals) == cell
        assert low + 100 <= when <= low + 100 + span and isinstance(when, int)


def test_small_databases_are_made_on_the_fly() -> None:
    pool = tuple(Value(name, name) for name in ("red", "green", "blue", "grey"))
    columns = (
        ColumnSpec("id", "key"),
        ColumnSpec("name", "label", "name", values=pool),
        ColumnSpec("colour", "category", "colour", values=pool),
        ColumnSpec("size", "number", "size", low=0, high=90),
        ColumnSpec("made", "date", "date", low=2000, high=2020),
        ColumnSpec("to_id", "ref", to="a"),
    )
    spec = DatabaseSpec("d", "d", "world", tuple(TableSpec(name, name, name, 15, columns) for name in "abc"))
    rng, start = random.Random(1), time.perf_counter()
    for _ in range(100):
        populate(spec, rng).close()
    assert time.perf_counter() - start < 3.0  # about 0.1 s on an idle core; far too slow to use if this fails
