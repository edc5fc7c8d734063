"""The rules that a database of the generated world obeys: names, kinds, refs, pools, bounds, row counts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec

KINDS = ("key", "ref", "label", "category", "number", "year", "date", "flag")
SPLITS = ("train", "dev", "world")

_POOLED = ("label", "category", "flag")
_MEASURED = ("number", "year", "date")

# SQLite's keywords, the tokens of Spider's evaluator, and the contractions that its tokeniser would split.
_RESERVED = frozenset(
    """abort action add after all alter always analyze and as asc attach autoincrement before begin
    between by cascade case cast check collate column commit conflict constraint create cross current
    current_date current_time current_timestamp database default deferrable deferred delete desc detach
    distinct do drop each else end escape except exclude exclusive exists explain fail filter first
    following for foreign from full generated glob group groups having if ignore immediate in index
    indexed initially inner insert instead intersect into is isnull join key last left like limit match
    materialized natural no not nothing notnull null nulls of offset on or order others outer over
    partition plan pragma preceding primary query raise range recursive references regexp reindex release
    rename replace restrict returning right rollback row rows savepoint select set table temp temporary
    then ties to transaction trigger unbounded union unique update using vacuum values view virtual when
    where window with within without count sum avg min max none cannot gonna gotta gimme lemme
    wanna""".split()
)


def spec_faults(spec: DatabaseSpec) -> Iterator[tuple[str, str, str]]:
    """Every broken rule as (table, column, what is wrong); names may be empty."""
    if not _is_name(spec.id):
        yield "", "", f"id {spec.id!r} must be a plain name that is no SQL keyword"
    if spec.split not in SPLITS:
        yield "", "", f"split {spec.split!r} must be one of {', '.join(SPLITS)}"
    if not spec.topic.strip():
        yield "", "", "topic is empty; say in a few words what the database is about"
    for name in _repeated(table.name for table in spec.tables):
        yield name, "", "two tables have this name"
    for table in spec.tables:
        yield from ((table.name, "", fault) for fault in _table_faults(table, spec))
        for column in table.columns:
            yield from ((table.name, column.name, fault) for fault in _column_faults(column, spec))


def _table_faults(table: TableSpec, spec: DatabaseSpec) -> Iterator[str]:
    if not _is_name(table.name):
        yield "the name must be letters, digits and _, no SQL keyword, and hold no lower-case 'value'"
    if not table.one.strip() or not table.many.strip():
        yield "one and many must name a row and several rows"
    if table.rows < 1:
        yield f"rows is {table.rows}; it must be at least 1"
    for name in _repeated(column.name for column in table.columns):
        yield f"two columns are called {name}"
    if sum(column.kind == "key" for column in table.columns) > 1:
        yield "more than one key; make the others number or label"
    if table.verb and len(table.refs) < 2:
        yield "only a bridge table with two refs has a verb"
    if not table.key and not table.bridge:
        yield "no key; only a bridge table (two refs and a verb) may do without"
    if table.bridge and all(_has_key(spec, ref.to) for ref in table.refs[:2]):
        left, right = (spec.table(ref.to) for ref in table.refs[:2])
        possible = left.rows * (right.rows - (left == right))
        if table.rows > possible:
            yield f"{table.rows} rows, but only {possible} distinct pairs of {left.name} and {right.name}"
    if table.bridge and any(ref.null_share for ref in table.refs[:2]):
        yield "the first two refs of a bridge table cannot be NULL"


def _column_faults(column: ColumnSpec, spec: DatabaseSpec) -> Iterator[str]:
    if not _is_name(column.name):
        yield "the name must be letters, digits and _, no SQL keyword, and hold no lower-case 'value'"
    if column.kind not in KINDS:
        yield f"kind {column.kind!r} must be one of {', '.join(KINDS)}"
    if not column.phrase.strip() and column.kind not in ("key", "ref"):
        yield "phrase is empty; say what a person calls this column"
    if any(not phrase.strip() for phrase in column.phrases) or _repeated((column.phrase, *column.phrases)):
        yield "phrases must be filled and differ from each other and from phrase"
    if column.verb and column.verb.count("{}") != 1:
        yield f"verb {column.verb!r} must hold {{}} once"
    if not 0 <= column.null_share < 1 or (column.kind == "key" and column.null_share):
        yield f"null_share {column.null_share} must be within 0..1, and 0 for a key"
    if (column.kind == "ref") != bool(column.to) or (column.to and not _has_key(spec, column.to)):
        yield f"to is {column.to!r}; a ref, and only a ref, names a table that has a key"
    yield from _measure_faults(column)
    yield from _pool_faults(column)


def _measure_faults(column: ColumnSpec) -> Iterator[str]:
    if column.kind in _MEASURED:
        if column.low >= column.high:
            yield f"low {column.low} must be below high {column.high}"
        if column.kind == "date" and not 1 <= column.low <= column.high <= 9999:
            yield "low and high of a date are years"
        if not column.decimals and (column.low % 1 or column.high % 1):
            yield "low and high must be whole unless decimals are given"
    elif column.low or column.high or column.most or column.least or column.more or column.less:
        yield "only number, year and date have low, high, most, least, more, less"
    if (column.decimals or column.unit) and column.kind != "number":
        yield "only a number has decimals and unit"
    if not 0 <= column.decimals <= 6:
        yield f"decimals is {column.decimals}; it must be within 0..6"


def _pool_faults(column: ColumnSpec) -> Iterator[str]:
    stored, spoken = [v.stored for v in column.values], [v.spoken for v in column.values]
    if column.kind not in _POOLED:
        if stored:
            yield "only label, category and flag have values"
        return
    if len(stored) < 2 or (column.kind == "flag" and len(stored) != 2):
        yield f"{len(stored)} values; a flag has two, other pools at least two"
    if len({float if isinstance(v, int) else type(v) for v in stored}) > 1 or None in stored:
        yield "values must be all text or all numbers; NULLs come from null_share"
    if column.kind == "label" and not all(isinstance(v, str) for v in stored):
        yield "the values of a label must be text"
    if any(not text.strip() or "'" in text or '"' in text for text in (*map(str, stored), *spoken)):
        yield "values must be filled and hold no quotes (the evaluator cannot read them)"
    for text in _repeated(spoken) or (list(map(str, stored)) if len(set(stored)) < len(stored) else []):
        yield f"{text!r} stands for more than one value"


def _is_name(text: str) -> bool:
    # The evaluator replaces the letters "value" in every prediction, so no identifier may hold them.
    plain = re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text)
    return bool(plain) and text.lower() not in _RESERVED and "value" not in text


def _has_key(spec: DatabaseSpec, name: str) -> bool:
    return any(table.name == name and table.key for table in spec.tables)


def _repeated(texts: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [text for text in texts if text.lower() in seen or seen.add(text.lower())]
