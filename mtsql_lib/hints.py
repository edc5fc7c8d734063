"""What there is in place of a name that does not exist: the schema's part of an error message.

SQLite names only what it did not find. A small model that reads no more writes the same query again, so the
tiny model's environment (the compact templates) adds what it could have written. The paper's environment does
not (`docs/deviations.md`). Left out: likeness of names.
"""

from __future__ import annotations

import re

from mtsql_lib.schema import Schema, SchemaTable, fold_name, quoted

_UNKNOWN = re.compile(r"no such (column|table): (?:(\w+)\.)?(\w+)$")
_SOURCE = re.compile(r"\b(?:from|join)\s+(\w+)", re.IGNORECASE)
_CHARACTERS = 200


def hint(message: str, sql: str, schema: Schema) -> str:
    """After a missing column the columns of the named table, or of those that `sql` reads, and the tables
    that have the column; after a missing table all tables; "" for any other message.

    >>> hint("no such column: pet.town", "SELECT town FROM pet", schema)
    'pet: pet_id, name, owner_id; town is in owner'
    """
    found = _UNKNOWN.search(message)
    if not found:
        return ""
    kind, qualifier, name = found.groups()
    if kind == "table":
        return _cut("tables: " + ", ".join(_name(table.name) for table in schema.tables))
    read = {(qualifier or "").lower()} & {table.name.lower() for table in schema.tables}
    read = read or {source.lower() for source in _SOURCE.findall(sql)}
    parts = [f"{_name(t.name)}: {', '.join(_columns(t))}" for t in schema.tables if t.name.lower() in read]
    homes = [_name(t.name) for t in schema.tables if fold_name(name) in _columns(t)]
    return _cut("; ".join([*parts, f"{fold_name(name)} is in {', '.join(homes)}"] if homes else parts))


def _columns(table: SchemaTable) -> list[str]:
    return [_name(column.name) for column in table.columns]


def _name(name: str) -> str:
    return quoted(fold_name(name))


def _cut(text: str) -> str:
    return text if len(text) <= _CHARACTERS else text[:_CHARACTERS].rsplit(" ", 1)[0] + " ..."
