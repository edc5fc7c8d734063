"""A database as the dialogue moves see it: spec, join routes, the values that are there, and execution."""

from __future__ import annotations

import random
import re
import sqlite3
from collections import Counter
from dataclasses import replace

from mtsql_lib.world.query import Column, Item, Literal, Query, to_sql
from mtsql_lib.world.routes import Routes
from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec, cell_values

COUNT = Item(Column("", "*"), "count")
_PERSONAL = re.compile(
    r"who |born in|birth|salary|wage|\bpay\b|nationality|gender|living in|full name|mother tongue|married"
)
MEASURED = ("number", "year", "date")


class Scene:
    """One database, asked about again and again; reads columns once and keeps them."""

    def __init__(self, spec: DatabaseSpec, connection: sqlite3.Connection):
        spec = _plain_spoken(spec)
        self.spec, self.connection = spec, connection
        self.people = frozenset(table.name for table in spec.tables if _of_people(table))
        self.routes = Routes(spec)
        self.entities = [table for table in spec.tables if not table.bridge]
        names = Counter(column.name.lower() for table in spec.tables for column in table.columns)
        self.shared_names = frozenset(name for name, count in names.items() if count > 1)
        self._cells: dict[Column, list] = {}
        self._spoken: dict[Column, dict] = {}

    def table(self, name: str) -> TableSpec:
        """The table of that name."""
        return self.routes.tables[name]

    def spec_of(self, column: Column) -> ColumnSpec:
        """The spec of a column."""
        return self.table(column.table).column(column.name)

    def cells(self, column: Column) -> list:
        """Every value of a column that is not NULL, repeats kept."""
        if column not in self._cells:
            rows = self.connection.execute(f"SELECT {column.name} FROM {column.table}")
            self._cells[column] = sorted(row[0] for row in rows if row[0] is not None)
        return self._cells[column]

    def literal(self, column: Column, stored: str | int | float) -> Literal:
        """A cell value with the form that a person types for it."""
        if column not in self._spoken:
            table = self.table(column.table)
            values = cell_values(table, table.column(column.name))
            self._spoken[column] = {value.stored: value.spoken for value in values}
        return Literal(stored, self._spoken[column].get(stored, str(stored)))

    def draw(self, column: Column, rng: random.Random) -> Literal | None:
        """A value that occurs in a column (as often as it occurs), None if there is none."""
        cells = self.cells(column)
        return self.literal(column, rng.choice(cells)) if cells else None

    def threshold(
        self, column: Column, rng: random.Random, low: float = 0.15, high: float = 0.85
    ) -> Literal | None:
        """A number, year or date between two quantiles of a column, rounded the way people round."""
        cells = self.cells(column)
        if not cells:
            return None
        cell = cells[int(len(cells) * rng.uniform(low, high))]
        if isinstance(cell, str) or self.spec_of(column).kind == "year":
            return Literal(cell, str(cell))
        return _round_literal(cell, cells)

    def run(self, query: Query) -> list[tuple] | None:
        """The rows of a query, None if SQLite refuses it."""
        try:
            return self.connection.execute(to_sql(query)).fetchall()
        except sqlite3.Error:
            return None


def _plain_spoken(spec: DatabaseSpec) -> DatabaseSpec:
    """The spec without words that could mean two columns of one table (two ways to be "longest")."""
    return replace(spec, tables=tuple(_unmistakable(table) for table in spec.tables))


def _unmistakable(table: TableSpec) -> TableSpec:
    words: Counter = Counter()
    for column in table.columns:
        words.update({column.most, column.least, column.more, column.less, column.phrase, *column.phrases})
        words.update({column.verb} if column.kind in MEASURED else ())
    if all(count == 1 for word, count in words.items() if word):
        return table
    unsure = {word for word, count in words.items() if count > 1}
    return replace(table, columns=tuple(_without(column, unsure) for column in table.columns))


def _without(column: ColumnSpec, words: set[str]) -> ColumnSpec:
    kept = {n: "" for n in ("most", "least", "more", "less") if getattr(column, n) in words}
    kept |= {"verb": ""} if column.kind in MEASURED and column.verb in words else {}
    return replace(column, phrases=tuple(p for p in column.phrases if p not in words), **kept)


def _of_people(table: TableSpec) -> bool:
    said = " ".join(f"{c.phrase} {c.verb}" for c in table.columns if c.kind != "ref")
    return bool(_PERSONAL.search(said))


def _round_literal(cell: float, cells: list) -> Literal:
    """Round to the coarsest step that stays well inside the range of the cells."""
    spread = cells[-1] - cells[0]
    step = 1.0
    while step * 40 <= spread:
        step *= 10 if step * 200 <= spread else 5
    if step > 1 or (isinstance(cell, float) and spread > 8):
        cell = int(round(cell / step) * step) or cell
    return Literal(cell, str(cell))
