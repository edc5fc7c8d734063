"""Rows for a database of the generated world: skewed, with gaps and a few duplicates, as real tables are."""

from __future__ import annotations

import random
import sqlite3
from dataclasses import replace
from datetime import date
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec, Value

_DUPLICATE_SHARE = 0.02


def populate(spec: DatabaseSpec, rng: random.Random) -> sqlite3.Connection:
    """The spec as a database in memory; the same `rng` state gives the same rows.

    Keys run from 1. Refs and categories are skewed, some parents have no children, labels repeat rarely. The
    caller closes it, and lets one thread at a time use it.
    """
    rows = {table.name: _rows(table, spec, rng) for table in spec.tables}
    connection = sqlite3.connect(":memory:", check_same_thread=False)
    for table in spec.tables:
        connection.execute(create_statement(table, spec))
    for table in spec.tables:
        marks = ", ".join("?" * len(table.columns))
        connection.executemany(f"INSERT INTO {table.name} VALUES ({marks})", rows[table.name])
    connection.commit()
    return connection


def create_statement(table: TableSpec, spec: DatabaseSpec) -> str:
    """CREATE TABLE with the primary key and the foreign keys declared."""
    parts = [f"{c.name} {c.sql_type}" + (" PRIMARY KEY" if c.kind == "key" else "") for c in table.columns]
    if not table.key:
        parts.append(f"PRIMARY KEY ({', '.join(ref.name for ref in table.refs[:2])})")
    for ref in table.refs:
        key = spec.table(ref.to).key
        parts.append(f"FOREIGN KEY ({ref.name}) REFERENCES {ref.to} ({key.name if key else ''})")
    return f"CREATE TABLE {table.name} ({', '.join(parts)})"


def cell_values(table: TableSpec, column: ColumnSpec) -> tuple[Value, ...]:
    """All values that `populate` can put into a pooled column, to look up what a person types for a cell."""
    return _stretched(column.values, table.rows) if column.kind == "label" else column.values


@lru_cache(maxsize=4096)
def _stretched(pool: tuple[Value, ...], count: int) -> tuple[Value, ...]:
    """At least `count` labels: the pool, crossed names ("Anna Berg", "Lars Dahl": "Anna Dahl"), numerals."""
    found = {value.stored: value for value in pool}
    crossable = [value for value in pool if _two_words(value)]
    for shift in range(1, len(crossable)):
        if len(found) >= count:
            break
        for left, right in zip(crossable, crossable[shift:] + crossable[:shift], strict=True):
            forms = zip(_forms(left), _forms(right), strict=True)
            stored, spoken = (f"{first.split()[0]} {second.split()[1]}" for first, second in forms)
            value = replace(left, stored=stored, spoken=spoken)
            found.setdefault(value.stored, value)
    number = 2
    while len(found) < count:
        for old in pool:
            value = replace(old, stored=f"{old.stored} {number}", spoken=f"{old.spoken} {number}")
            found.setdefault(value.stored, value)
        number += 1
    return tuple(found.values())


def _forms(value: Value) -> tuple[str, str]:
    return str(value.stored), value.spoken


def _two_words(value: Value) -> bool:
    stored, spoken = (text.lower().split() for text in _forms(value))
    return len(stored) == 2 and stored == spoken


def _rows(table: TableSpec, spec: DatabaseSpec, rng: random.Random) -> list[tuple[Any, ...]]:
    refs = [column.name for column in table.columns if column.kind == "ref"]
    drawn = {c.name: _cells(c, table, rng) for c in table.columns if c.kind != "ref"}
    drawn.update(zip(refs, _ref_cells(table, spec, rng), strict=True))
    return list(zip(*(drawn[column.name] for column in table.columns), strict=True))


def _cells(column: ColumnSpec, table: TableSpec, rng: random.Random) -> list[Any]:
    count = table.rows
    if column.kind == "key":
        return list(range(1, count + 1))
    if column.kind == "label":
        cells = _label_cells(column, table, rng)
    elif column.kind in ("category", "flag"):
        stored = [value.stored for value in column.values]
        cells = rng.choices(stored, cum_weights=_skew(len(stored), rng), k=count)
    else:
        cells = _measured_cells(column, count, rng)
    return _with_nulls(cells, column.null_share, rng)


def _label_cells(column: ColumnSpec, table: TableSpec, rng: random.Random) -> list[Any]:
    # The pool comes first, so that a small table shows the names as they were written.
    values = [value.stored for value in cell_values(table, column)]
    size = len(column.values)
    cells = rng.sample(values[:size], min(size, table.rows)) + values[size : table.rows]
    rng.shuffle(cells)
    for position in range(1, len(cells)):
        if rng.random() < _DUPLICATE_SHARE:
            cells[position] = cells[position - 1]
    return cells


def _measured_cells(column: ColumnSpec, count: int, rng: random.Random) -> list[Any]:
    low, high, draw = column.low, column.high, rng.random
    if column.kind == "date":
        first, last = date(int(low), 1, 1).toordinal(), date(int(high), 12, 31).toordinal()
        return [date.fromordinal(first + int((last - first + 1) * draw())).isoformat() for _ in range(count)]
    if column.kind == "year":
        # Recent years are commoner.
        return [int(high) - int((high - low + 1) * draw() ** 1.5) for _ in range(count)]
    # Wide ranges (prices, populations) have a long tail; narrow ones (heights, scores) gather in the middle.
    long_tail = low >= 0 and high > 20 * max(low, 1)
    shares = (draw() ** 2 if long_tail else (draw() + draw()) / 2 for _ in range(count))
    if not column.decimals:
        return [int(low) + int((high - low + 1) * share) for share in shares]
    return [round(low + (high - low) * share, column.decimals) for share in shares]


def _with_nulls(cells: list[Any], share: float, rng: random.Random) -> list[Any]:
    return [None if rng.random() < share else cell for cell in cells] if share else cells


def _ref_cells(table: TableSpec, spec: DatabaseSpec, rng: random.Random) -> list[list[Any]]:
    refs = table.refs
    parents = [_parents(spec.table(ref.to).rows, rng) for ref in refs]
    paired = 2 if table.bridge else 0
    columns: list[Any] = list(zip(*_pairs(table, spec, parents, rng), strict=True)) if paired else []
    for position in range(paired, len(refs)):
        ref = refs[position]
        kept, weights = parents[position]
        cells = rng.choices(kept, cum_weights=weights, k=table.rows)
        # A row refers neither to itself nor twice to the same other row (white and black player).
        rivals = [range(1, table.rows + 1)] if ref.to == table.name else []
        rivals += [columns[other] for other in range(position) if refs[other].to == ref.to]
        cells = _apart(cells, rivals, spec.table(ref.to).rows, rng)
        columns.append(_with_nulls(cells, ref.null_share, rng))
    return columns


def _parents(count: int, rng: random.Random) -> tuple[list[int], list[float]]:
    """The parents that are referred to at all, and their cumulative weights."""
    kept = rng.sample(range(1, count + 1), count - max(count // 7, count > 3))
    return kept, _skew(len(kept), rng)


def _skew(count: int, rng: random.Random) -> list[float]:
    exponent = rng.uniform(0.4, 1.2)
    weights = [(rank + 1) ** -exponent for rank in range(count)]
    rng.shuffle(weights)
    return list(accumulate(weights))


def _apart(cells: list[Any], rivals: list[Any], count: int, rng: random.Random) -> list[Any]:
    if not rivals or count <= len(rivals):
        return cells
    for row, taken in enumerate(zip(*rivals, strict=True)):
        while cells[row] in taken:
            cells[row] = rng.randint(1, count)
    return cells


def _pairs(
    table: TableSpec, spec: DatabaseSpec, parents: list[Any], rng: random.Random
) -> list[tuple[int, int]]:
    """Distinct pairs of the first two refs: skewed draws, then whatever is left where those run dry."""
    same = table.refs[0].to == table.refs[1].to
    found: dict[tuple[int, int], None] = {}
    for _ in range(4):
        left, right = (rng.choices(kept, cum_weights=weights, k=table.rows) for kept, weights in parents[:2])
        found.update((pair, None) for pair in zip(left, right, strict=True) if not same or pair[0] != pair[1])
        if len(found) >= table.rows:
            return list(found)[: table.rows]
    sizes = [spec.table(ref.to).rows for ref in table.refs[:2]]
    pairs = ((left, right) for left in range(1, sizes[0] + 1) for right in range(1, sizes[1] + 1))
    rest = [pair for pair in pairs if pair not in found and not (same and pair[0] == pair[1])]
    rng.shuffle(rest)
    return (list(found) + rest)[: table.rows]
