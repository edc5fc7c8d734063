"""What a database of the generated world is: dataclasses, read from TOML or built by a program.

A spec says what SQL calls a column, what a person calls it, and which values it holds. Stored and spoken form
of a value may differ ("NOR" and "norway"), so that a model has to look before it writes a literal. Left out:
composite foreign keys, times of day, free text.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mtsql_lib.errors import KitError
from mtsql_lib.world.spec_rows import cell_values, create_statement, populate
from mtsql_lib.world.spec_rules import spec_faults

__all__ = [
    "ColumnSpec",
    "DatabaseSpec",
    "TableSpec",
    "Value",
    "cell_values",
    "check_spec",
    "create_statement",
    "load_spec",
    "populate",
]


@dataclass(frozen=True)
class Value:
    """A cell value as the database stores it and as a person types it in a question."""

    stored: str | int | float | None
    spoken: str


@dataclass(frozen=True)
class ColumnSpec:
    """A column; `phrases` are further ways to say `phrase`, `verb` a predicate with one `{}` ("built in {}").

    `low` and `high` bound a number (rounded to `decimals`), a year, or the years of a date.
    """

    name: str
    kind: str
    phrase: str = ""
    phrases: tuple[str, ...] = ()
    values: tuple[Value, ...] = ()
    to: str = ""
    low: float = 0
    high: float = 0
    decimals: int = 0
    unit: str = ""
    most: str = ""
    least: str = ""
    more: str = ""
    less: str = ""
    verb: str = ""
    null_share: float = 0.0
    phrase_many: str = ""

    @property
    def sql_type(self) -> str:
        """INTEGER, REAL or TEXT."""
        if self.kind in ("key", "ref", "year"):
            return "INTEGER"
        if self.kind == "number":
            return "REAL" if self.decimals else "INTEGER"
        kinds = {type(value.stored) for value in self.values}
        return "INTEGER" if kinds == {int} else "REAL" if kinds and kinds <= {int, float} else "TEXT"


@dataclass(frozen=True)
class TableSpec:
    """A table; `one` and `many` are the nouns of a row, `verb` is what a bridge table says ("serves on")."""

    name: str
    one: str
    many: str
    rows: int
    columns: tuple[ColumnSpec, ...]
    verb: str = ""

    @property
    def key(self) -> ColumnSpec | None:
        """The primary key, None for a bridge table that is keyed by its first two refs."""
        return next((column for column in self.columns if column.kind == "key"), None)

    @property
    def refs(self) -> tuple[ColumnSpec, ...]:
        """The foreign keys in order."""
        return tuple(column for column in self.columns if column.kind == "ref")

    @property
    def label(self) -> ColumnSpec | None:
        """The first label: what names a row."""
        return next((column for column in self.columns if column.kind == "label"), None)

    @property
    def bridge(self) -> bool:
        """True for a many-to-many table: two refs or more, and a verb."""
        return bool(self.verb) and len(self.refs) >= 2

    def column(self, name: str) -> ColumnSpec:
        """The column of that name in any letter case; KitError if there is none."""
        for column in self.columns:
            if column.name.lower() == name.lower():
                return column
        raise KitError(f"table {self.name} has no column {name}; its columns: {_names(self.columns)}")


@dataclass(frozen=True)
class DatabaseSpec:
    """A database of the world; `split` is train, dev or world (drawn on the fly, never scored)."""

    id: str
    topic: str
    split: str
    tables: tuple[TableSpec, ...]

    def table(self, name: str) -> TableSpec:
        """The table of that name in any letter case; KitError if there is none."""
        for table in self.tables:
            if table.name.lower() == name.lower():
                return table
        raise KitError(f"database {self.id} has no table {name}; its tables: {_names(self.tables)}")

    def column(self, table: str, name: str) -> ColumnSpec:
        """The column of a table; KitError if either is missing."""
        return self.table(table).column(name)


def _names(parts: tuple[TableSpec, ...] | tuple[ColumnSpec, ...]) -> str:
    return ", ".join(part.name for part in parts)


def load_spec(path: str | Path) -> DatabaseSpec:
    """Read `data/sources/<id>.toml` and check it; KitError names file, table and column."""
    path = Path(path)
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise KitError(f"{path.name}: cannot be read as TOML: {error}") from error
    try:
        tables = tuple(_read_table(entry) for entry in _entries(raw, "table", "the file"))
        spec = _record(DatabaseSpec, raw, "the file", skip="table", tables=tables)
        if spec.id != path.stem:
            raise KitError(f"id is {spec.id!r} but the file is called {path.stem}; give both the same name")
        check_spec(spec)
    except KitError as error:
        raise KitError(f"{path.name}: {error}") from None
    return spec


def _entries(raw: dict[str, Any], name: str, where: str) -> list[dict[str, Any]]:
    found = raw.get(name)
    if not isinstance(found, list) or not found or not all(isinstance(entry, dict) for entry in found):
        raise KitError(f"{where} has no [[{name}]] entries; add at least one")
    return found


def _read_table(raw: dict[str, Any]) -> TableSpec:
    where = f"table {raw.get('name', '?')}"
    columns = tuple(_read_column(entry, where) for entry in _entries(raw, "column", where))
    return _record(TableSpec, raw, where, skip="column", columns=columns)


def _read_column(raw: dict[str, Any], where: str) -> ColumnSpec:
    where = f"{where}, column {raw.get('name', '?')}"
    raw = dict(raw)
    values = raw.pop("values", [])
    if not isinstance(values, list):
        raise KitError(f"{where}: values must be a list")
    return _record(ColumnSpec, raw, where, values=tuple(_read_value(value, where) for value in values))


def _read_value(raw: Any, where: str) -> Value:
    match raw:
        case [str() | int() | float() as stored, str() as spoken] if not isinstance(stored, bool):
            return Value(stored, spoken)
        case str() | int() | float() if not isinstance(raw, bool):
            return Value(raw, str(raw))
    raise KitError(f"{where}: value {raw!r} must be a text, a number, or a pair [stored, spoken]")


_TYPES = {"str": (str,), "int": (int,), "float": (int, float)}


def _record(kind: type, raw: dict[str, Any], where: str, skip: str = "", **built: Any) -> Any:
    """A dataclass from a TOML table: unknown keys, missing keys and wrong types are refused."""
    types = {field.name: str(field.type) for field in fields(kind)}
    arguments = dict(built)
    for name, content in raw.items():
        if name == skip:
            continue
        if name not in types or name in built:
            known = ", ".join(field for field in types if field not in built)
            raise KitError(f"{where}: unknown key {name!r}; known are {known}")
        if types[name] == "tuple[str, ...]":
            fine = isinstance(content, list) and all(isinstance(text, str) for text in content)
            content = tuple(content) if fine else content
        else:
            fine = type(content) in _TYPES[types[name]]
        if not fine:
            raise KitError(f"{where}: {name} must be {types[name]}, not {content!r}")
        arguments[name] = content
    try:
        return kind(**arguments)
    except TypeError as error:
        raise KitError(f"{where}: {str(error).split('() ')[-1]}") from None


def check_spec(spec: DatabaseSpec) -> None:
    """Raise KitError at the first broken rule: names, kinds, refs, pools, bounds, number of rows."""
    for table, column, fault in spec_faults(spec):
        where = (table and f"table {table}") + (column and f", column {column}")
        raise KitError(f"{where}: {fault}" if where else fault)
