"""What exact set match knows of a database: the names in its tables, and which columns stand for each other.

Names come from the SQLite file, as in the official evaluator, foreign keys from `tables.json`. It is no
description of a schema for people or models; that is `schema.py`.
"""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

from mtsql_lib.errors import KitError
from mtsql_lib.spider_sql import Select, SpiderSyntaxError, parse

_CACHE_LIMIT = 20_000
_KEYS = {"column_names_original", "table_names_original", "foreign_keys"}


class EvaluatorSchema:
    """Lower-cased columns of each table, the ids of both, and foreign-key twins.

    `twins` maps a column id to the one that stands for its foreign-key group. What is derived from a query's
    text is cached here: `forms` belongs to `exact_match`.
    """

    def __init__(self, columns: dict[str, list[str]], twins: dict[str, str] | None = None) -> None:
        self.columns = columns
        self.own_names = {table: table for table in columns}
        self.ids = {"*": "__all__"}
        for table, names in columns.items():
            self.ids.update((f"{table}.{name}", f"__{table}.{name}__") for name in names)
        self.ids.update((table, f"__{table}__") for table in columns)
        self.twins = twins or {}
        self.forms: dict = {}
        self._trees: dict[str, Select | str] = {}

    def __repr__(self) -> str:
        tables, names, twins = len(self.columns), len(self.ids), len(self.twins)
        return f"EvaluatorSchema({tables} tables, {names} names, {twins} columns in foreign keys)"

    def tree(self, text: str) -> Select:
        """The clause tree of a query, parsed once: not to be changed. Raises SpiderSyntaxError."""
        tree = self._trees.get(text)
        if tree is None:
            if len(self._trees) >= _CACHE_LIMIT:
                self._trees.clear()
                self.forms.clear()
            try:
                tree = parse(text, self)
            except SpiderSyntaxError as problem:
                tree = str(problem)
            self._trees[text] = tree
        if type(tree) is str:
            raise SpiderSyntaxError(tree)
        return tree

    def canonical(self, text: str) -> str:
        """The query in the spelling that strict mode compares."""
        from mtsql_lib.strict_match import canonical

        return canonical(self.tree(text), self.twins)


def evaluator_schema(database_path, tables_json_entry: dict | None = None) -> EvaluatorSchema:
    """The schema as the official evaluator sees it: names from the SQLite file, foreign keys from the entry
    of `tables.json`.

    Without an entry the keys that the file declares are used, in the order that `tables.json` would list
    them. Raises KitError.
    """
    try:
        connection = sqlite3.connect(f"file:{_quoted(database_path)}?mode=ro&immutable=1", uri=True)
        try:
            columns: dict[str, list[str]] = {}
            for table, name in connection.execute(
                "SELECT m.name, c.name FROM sqlite_master m JOIN pragma_table_info(m.name) c"
                " WHERE m.type = 'table'"
            ):
                columns.setdefault(table.lower(), []).append(name.lower())
            if tables_json_entry is None:
                tables_json_entry = _declared_keys(connection, columns)
        finally:
            connection.close()
    except sqlite3.Error as problem:
        raise KitError(
            f"{database_path}: the schema cannot be read ({problem}); give the path of a SQLite database"
        ) from None
    return EvaluatorSchema(columns, foreign_key_twins(tables_json_entry))


def _quoted(path) -> str:
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _declared_keys(connection: sqlite3.Connection, columns: dict[str, list[str]]) -> dict:
    names = [(-1, "*"), *((n, name) for n, own in enumerate(columns.values()) for name in own)]
    tables = list(columns)
    numbers = {(tables[table], name): n for n, (table, name) in enumerate(names) if table >= 0}
    keys = []
    for table in tables:
        rows = connection.execute(
            'SELECT "from", "table", "to" FROM pragma_foreign_key_list(?) ORDER BY id, seq', (table,)
        )
        for source, target, to in rows:
            pair = (
                numbers.get((table, source.lower())),
                numbers.get((target.lower(), (to or source).lower())),
            )
            if None not in pair:
                keys.append(pair)
    return {"column_names_original": names, "table_names_original": tables, "foreign_keys": keys}


def foreign_key_twins(entry: dict) -> dict[str, str]:
    """Column id -> id of the first column of its foreign-key group, from an entry of `tables.json`.

    Grouping is greedy in the order of listing: a key joins the first group that shares a column; groups are
    never merged.
    """
    tables = entry["table_names_original"]
    ids = [
        f"__{tables[t].lower()}.{name.lower()}__" if t >= 0 else "__all__"
        for t, name in entry["column_names_original"]
    ]
    groups: list[set[int]] = []
    for one, other in entry["foreign_keys"]:
        group = next((g for g in groups if one in g or other in g), None)
        if group is None:
            groups.append(group := set())
        group.update((one, other))
    return {ids[n]: ids[min(group)] for group in groups for n in sorted(group)}


class TablesJson:
    """The entries of a `tables.json`, read one at a time: parsing the whole file costs more than scoring a
    database.

    Raises KitError if the file is missing, is not such a file, or lacks the database that is asked for.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = path
        try:
            self._text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as problem:
            raise KitError(
                f"{path}: cannot be read ({problem}); give the tables.json of the corpus"
            ) from None
        self._entries: dict[str, dict] | None = None

    def entry(self, database_id: str) -> dict:
        """The entry of one database."""
        entry = self._single(database_id) if self._entries is None else None
        if entry is None:
            entry = self._all().get(database_id)
        if entry is None:
            raise KitError(
                f"{self.path}: no entry for database {database_id!r}; give the tables.json of the corpus"
            )
        return entry

    def _single(self, database_id: str) -> dict | None:
        """The object around `"db_id": "<id>"`; None unless it is surely the one."""
        mark = f'"db_id": {json.dumps(database_id)}'
        at = self._text.find(mark)
        start = self._text.rfind("{", 0, at)
        if at < 0 or start < 0:
            return None
        try:
            entry = json.JSONDecoder().raw_decode(self._text, start)[0]
        except ValueError:
            return None
        return entry if entry.get("db_id") == database_id and _KEYS <= entry.keys() else None

    def _all(self) -> dict[str, dict]:
        if self._entries is None:
            try:
                self._entries = {entry["db_id"]: entry for entry in json.loads(self._text)}
            except (ValueError, TypeError, KeyError) as problem:
                raise KitError(f"{self.path}: not a tables.json ({problem!r})") from None
        return self._entries
