"""The executor: SQL in, a typed outcome out; never an exception from the SQL, and never a write.

`Sandbox` guards one connection; here is what makes it serve many episodes at once: connections kept per
database and lent to one thread at a time, results kept by (content of the database, limits, statement),
ties found when asked for. What the guards do not protect against is in `mtsql_lib.sandbox`. Left out:
parameters, several statements in one text, and any database but SQLite.
"""

import hashlib
import os
import re
import sqlite3
import threading
import weakref
from functools import partial
from pathlib import Path
from time import perf_counter

from mtsql_lib.errors import KitError
from mtsql_lib.outcome import Limits, Outcome
from mtsql_lib.result_cache import ResultCache
from mtsql_lib.sandbox import Sandbox
from mtsql_lib.statements import may_tie, normalise

__all__ = ["Executor", "Limits", "Outcome", "ResultCache"]

_SANDBOXES = 200  # kept open at once, in use or not; more only if more than these are in use
_WORDS = ("random", "now", "current_", "( )", "()", "strftime")
_FLEETING = re.compile(
    r"""random|current_|['"]now['"]|(?:date|time|julianday|unixepoch) ?\( ?\)|strftime ?\( ?'[^']*' ?\)"""
)
_LIVE: "weakref.WeakSet[Executor]" = weakref.WeakSet()
_INHERITED: list[list[Sandbox]] = []  # SQLite forbids a forked child even to close what its parent opened


class _Database:
    """One file: its key in the cache, and the sandboxes that wait for a statement."""

    def __init__(self, path: Path, limits: Limits):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        self.path, self.key = path, f"{digest} {limits}"
        self.idle: list[Sandbox] = []


class Executor:
    """Runs one statement at a time on `<databases>/<id>/<id>.sqlite`, guarded; threads may share it.

    An id `<folder>/<file>` names a further file of a folder (test suites; see `files`). The content of a
    database is taken when it is first used: a file that changes later needs a new executor. `cache_size`
    counts results, 0 turns the cache off; `cache` is one that several executors share. It pickles as its
    arguments, without the results. Raises KitError if the folder of databases is missing, or when used
    after `close`.
    """

    def __init__(
        self,
        databases: str | Path,
        *,
        limits: Limits | None = None,
        cache_size: int = 20_000,
        cache: ResultCache | None = None,
    ):
        self.databases, self.limits = Path(databases), limits or Limits()
        if not self.databases.is_dir():
            raise KitError(f"There is no folder of databases at {self.databases}: name one that exists.")
        self.cache = ResultCache(cache_size) if cache is None else cache
        self._bases: dict[str, _Database] = {}
        self._sandboxes, self._closed = 0, False
        self._lock = threading.Lock()
        _LIVE.add(self)

    def execute(self, database_id: str, sql: str) -> Outcome:
        """The outcome of one statement on one database; the same outcome object again if it is known."""
        base = None if self._closed else self._bases.get(database_id)
        if base is None:
            base = self._find(database_id)
            if isinstance(base, Outcome):
                return base
        known = self.cache.get((base.key, sql))
        return known if known is not None else self._execute(base, sql)

    def _execute(self, base: _Database, sql: str) -> Outcome:
        if not isinstance(sql, str):
            return Outcome("error", message="the statement is no text")
        if not self.cache.size:
            return self._run(base, sql)
        plain = normalise(sql)
        key = base.key, plain
        outcome = self.cache.get(key) or self._load(base, key) or self._run(base, plain)
        if outcome.kind != "timeout" and not _fleeting(plain):
            self.cache.put(outcome, key, (base.key, sql))
        return outcome

    def files(self, database_id: str) -> list[str]:
        """The ids of all SQLite files in a database's folder, by name.

        One file makes execution accuracy, many make test-suite accuracy.
        """
        if not _is_name(database_id):
            return []
        found = sorted(path.name for path in self.databases.joinpath(database_id).glob("*.sqlite*"))
        return [f"{database_id}/{name}" for name in found if not name.endswith(("-wal", "-shm", "-journal"))]

    def _find(self, database_id: str) -> _Database | Outcome:
        if self._closed:
            raise KitError("This executor is closed: make a new one.")
        folder, _, file = str(database_id).partition("/")
        path = self.databases / folder / (file or f"{folder}.sqlite")
        if not _is_name(folder) or not _is_name(file or folder) or not path.is_file():
            where = f"in {self.databases.name}"
            return Outcome("missing_database", message=f"there is no database {database_id!r} {where}")
        for journal in ("-wal", "-journal"):
            rest = path.with_name(path.name + journal)
            if rest.is_file() and rest.stat().st_size:
                return Outcome("error", message=f"{path.name} is unfinished: its changes wait in {rest.name}")
        try:
            base = _Database(path, self.limits)
        except OSError as error:
            return Outcome("error", message=f"{path.name} can't be read: {error.strerror}")
        with self._lock:
            return self._bases.setdefault(database_id, base)

    def _load(self, base: _Database, key: tuple[str, str]) -> Outcome | None:
        known = self.cache.load(key)
        return known and self._outcome(base, key[1], known[:4], known[4])

    def _run(self, base: _Database, sql: str) -> Outcome:
        started = perf_counter()
        try:
            sandbox = self._borrow(base)
        except sqlite3.Error as error:
            return Outcome("error", message=f"{base.path.name} can't be opened: {error}")
        try:
            answer = sandbox.run(sql)
        finally:
            self._give_back(base, sandbox)
        outcome = self._outcome(base, sql, answer, perf_counter() - started)
        if outcome.ok:
            self.cache.save((base.key, sql), outcome)
        return outcome

    def _outcome(self, base: _Database, sql: str, answer: tuple, seconds: float) -> Outcome:
        kind, columns, rows, message = answer
        tie = partial(self._tied, base, sql, columns) if rows and may_tie(sql) else False
        return Outcome(kind, columns, rows, message, seconds, tie)

    def _tied(self, base: _Database, sql: str, columns: tuple[str, ...]) -> bool:
        from mtsql_lib.ties import tied  # few outcomes are asked

        def rows(probe: str) -> tuple[tuple, ...] | None:
            kind, _, found, _ = sandbox.run(probe)
            return found if kind == "rows" else None

        try:
            sandbox = self._borrow(base)
        except sqlite3.Error:
            return False  # the file is gone
        try:
            return tied(sql, columns, rows)
        finally:
            self._give_back(base, sandbox)

    def _borrow(self, base: _Database) -> Sandbox:
        """A sandbox that no other thread uses; no statement leaves anything behind in it."""
        try:
            return base.idle.pop()
        except IndexError:
            pass
        sandbox = Sandbox(base.path, self.limits)
        with self._lock:
            self._sandboxes += 1
            if self._sandboxes > _SANDBOXES:
                self._close_idle()
        return sandbox

    def _give_back(self, base: _Database, sandbox: Sandbox) -> None:
        base.idle.append(sandbox)
        if self._closed:
            self.close()

    def _close_idle(self) -> None:
        for base in self._bases.values():
            while base.idle:
                base.idle.pop().close()
                self._sandboxes -= 1

    def close(self) -> None:
        """Closes the connections; outcomes already given keep working."""
        self._closed = True
        with self._lock:
            self._close_idle()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._sandboxes = 0
        for base in self._bases.values():
            _INHERITED.append(base.idle)
            base.idle = []
        self.cache.after_fork()

    def __enter__(self) -> "Executor":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __reduce__(self) -> tuple:
        return partial(Executor, limits=self.limits, cache=self.cache), (self.databases,)

    def __repr__(self) -> str:
        return f"<Executor of {self.databases}: {len(self._bases)} databases in use, {self.cache!r}>"


def _is_name(part: str) -> bool:
    """One step down a folder, and no way out of it."""
    return part not in ("", ".", "..") and not set(part) & set("/\\\0")


def _fleeting(sql: str) -> bool:
    """The next execution may give something else: chance, or the time of day."""
    low = sql.lower()
    return any(map(low.__contains__, _WORDS)) and _FLEETING.search(low) is not None


def _after_fork() -> None:
    for executor in list(_LIVE):
        executor._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
