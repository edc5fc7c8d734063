"""What there is in place of a name that does not exist: the schema's part of an error message.

SQLite names only what it did not find. A small model that reads no more writes the same query again, so the
tiny model's environment (the compact templates) adds what it could have written: the likest name, as
PostgreSQL does, and the names that there are. The paper's environment does not (`docs/deviations.md`).
"""

from __future__ import annotations

import re
from difflib import get_close_matches

from mtsql_lib.schema import Schema, SchemaTable, fold_name, quoted

_UNKNOWN = re.compile(r"no such (column|table): (?:(\w+)\.)?(\w+)$")
_SOURCE = re.compile(r"\b(?:from|join)\s+(\w+)", re.IGNORECASE)
_CHARACTERS = 200


def hint(message: str, sql: str, schema: Schema) -> str:
    """After a missing column the likest one, the columns of the named table, or of those that `sql` reads,
    and the tables that have the column; after a missing table the likest and all; else "".

    >>> hint("no such column: pet.town", "SELECT town FROM pet", schema)
    'pet: pet_id, name, owner_id; town is in owner'
    >>> hint("no such column: pet_name", "SELECT pet_name FROM pet", schema)
    'perhaps name; pet: pet_id, name, owner_id'
    """
    found = _UNKNOWN.search(message)
    if not found:
        return ""
    kind, qualifier, name = found.groups()
    if kind == "table":
        tables = [_name(table.name) for table in schema.tables]
        return _cut("; ".join([*_likest(name, tables), "tables: " + ", ".join(tables)]))
    read = {(qualifier or "").lower()} & {table.name.lower() for table in schema.tables}
    read = read or {source.lower() for source in _SOURCE.findall(sql)}
    tables = [table for table in schema.tables if table.name.lower() in read]
    parts = [f"{_name(t.name)}: {', '.join(_columns(t))}" for t in tables]
    homes = [_name(t.name) for t in schema.tables if fold_name(name) in _columns(t)]
    if homes:
        return _cut("; ".join([*parts, f"{fold_name(name)} is in {', '.join(homes)}"]))
    return _cut("; ".join([*_likest(name, [c for t in tables for c in _columns(t)]), *parts]))


def _likest(name: str, names: list[str]) -> list[str]:
    return [f"perhaps {found}" for found in get_close_matches(fold_name(name), names, 1, 0.5)]


def _columns(table: SchemaTable) -> list[str]:
    return [_name(column.name) for column in table.columns]


def _name(name: str) -> str:
    return quoted(fold_name(name))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS].rsplit(" ", 1)[0] + " ..."
