"""The schema of a database and its linear form for the prompt."""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import quote

from mtsql_lib.errors import KitError
from mtsql_lib.spelling import KEYWORDS

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CAMEL = re.compile(r"(?:[A-Z][a-z]+){2,}\Z|[a-z]+(?:[A-Z][a-z]+)+\Z")
_OUTSIDE = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"|[A-Za-z_][A-Za-z0-9_]*")
_UPPER = frozenset(word for keyword in KEYWORDS for word in keyword.split())


@dataclass(frozen=True)
class SchemaColumn:
    """A column; `target` is (table, column) where it is a foreign key."""

    name: str
    type: str = ""
    target: tuple[str, str] | None = None


@dataclass(frozen=True)
class SchemaTable:
    """A table with its columns in order and the names of its primary key columns."""

    name: str
    columns: tuple[SchemaColumn, ...]
    primary_key: tuple[str, ...] = ()


@dataclass(frozen=True)
class Schema:
    """The tables of one database."""

    database_id: str
    tables: tuple[SchemaTable, ...]

    def linear(self, style: str) -> str:
        """The schema as prompt text: `compact` is a lower-case line a table, `full` spells types and keys."""
        line = {"compact": _compact_line, "full": _full_line}[style]
        return "\n".join(line(table) for table in self.tables)

    def __repr__(self) -> str:
        return f"Schema {self.database_id}\n{self.linear('compact')}"


@lru_cache(maxsize=512)
def read_schema(databases: Path, database_id: str) -> Schema:
    """Read `<databases>/<id>/<id>.sqlite` with sqlite-utils, read-only.

    Raises KitError if it is missing, no database or without a table. Read once in a process.
    """
    path = Path(databases) / database_id / f"{database_id}.sqlite"
    if not path.is_file():
        raise KitError(f"database {database_id} is missing: no file {path}")
    try:
        connection = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1", uri=True)
        try:
            schema = schema_of(connection, database_id)
        finally:
            connection.close()
    except sqlite3.Error as fault:
        raise KitError(f"{path} is not a readable SQLite database ({fault}): take a fresh copy") from None
    if not schema.tables:
        raise KitError(f"{path} is a database without a table: take a fresh copy")
    return schema


def schema_of(connection: sqlite3.Connection, database_id: str) -> Schema:
    """The schema of an open database."""
    import sqlite_utils

    database = sqlite_utils.Database(connection)
    names = [name for name in database.table_names() if name != "sqlite_sequence"]
    return Schema(database_id, tuple(_table(database[name]) for name in names))


def fold_name(name: str) -> str:
    """A name in its compact form: camel case keeps its capitals, as they part its words; any other name is
    in lower case.

    SQLite does not care about case, so a folded name means the same.
    """
    return name if _CAMEL.match(name) else name.lower()


def fold_names(sql: str) -> str:
    """SQL with its names folded, as the compact schema spells them; literals and keywords stay."""
    return _OUTSIDE.sub(_folded, sql)


def _folded(found: re.Match) -> str:
    text = found[0]
    return text if text[0] in "'\"" or text in _UPPER else fold_name(text)


def _table(table) -> SchemaTable:
    single = (key for key in table.foreign_keys if isinstance(key.column, str))
    targets = {key.column: (key.other_table, key.other_column) for key in single}
    columns = tuple(SchemaColumn(c.name, c.type, targets.get(c.name)) for c in table.columns)
    return SchemaTable(table.name, columns, tuple(c.name for c in table.columns if c.is_pk))


def quoted(name: str) -> str:
    """An identifier as SQL needs it: bare if plain, else in double quotes."""
    return name if _PLAIN.match(name) else '"' + name.replace('"', '""') + '"'


def _compact_line(table: SchemaTable) -> str:
    columns = []
    for column in table.columns:
        target = f" = {'.'.join(map(_compact, column.target))}" if column.target else ""
        columns.append(_compact(column.name) + target)
    return f"# {_compact(table.name)}: {', '.join(columns)}"


def _compact(name: str) -> str:
    return quoted(fold_name(name))


def _full_line(table: SchemaTable) -> str:
    columns = [f"{quoted(c.name)} {c.type}".strip() for c in table.columns]
    keys = [f"PRIMARY KEY ({', '.join(map(quoted, table.primary_key))})"] if table.primary_key else []
    keys += [
        f"FOREIGN KEY ({quoted(c.name)}) REFERENCES {quoted(c.target[0])}({quoted(c.target[1])})"
        for c in table.columns
        if c.target
    ]
    return f"CREATE TABLE {quoted(table.name)} ({', '.join(columns + keys)})"
