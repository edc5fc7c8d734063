"""Results by (database hash, limits, normalised SQL): bounded, and shared by threads and processes.

Two generations stand in for a list of last uses: what is asked for goes to the young one; when that is
full, the old one is dropped and the young one grows old. So a hit takes no lock and costs one look into a
dict.
"""

import json
import sqlite3
import threading
from os import getpid
from pathlib import Path
from typing import Any

from mtsql_lib.outcome import Outcome

Key = tuple[str, str]  # the database with its limits, the statement
_CELLS = 2_500_000  # of the results in one generation: some 250 MB at most


class ResultCache:
    """Keeps the last `size` results at least, twice as many at most; several executors may share one.

    With `file`, results that took a millisecond or longer are also kept in an SQLite file that other
    processes may use at the same time; a fault of that file (locked, full, damaged) is only a miss. It is
    bounded as well.
    """

    def __init__(self, size: int = 20_000, file: str | Path | None = None):
        self.size, self._file = size, _File(Path(file), size) if file else None
        self._young: dict[Key, Outcome] = {}
        self._old: dict[Key, Outcome] = {}
        self._cells = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Outcome | None:
        """The result, if it is still in memory."""
        known = self._young.get(key)
        if known is None and self._old:
            known = self._old.get(key)
            if known is not None:
                self.put(known, key)
        return known

    def put(self, outcome: Outcome, *keys: Key) -> None:
        """Keeps a result under one or more spellings, and forgets the older half if there are too many."""
        cells = 1 + len(outcome.rows) * len(outcome.columns)
        if not self.size or cells > _CELLS:
            return
        with self._lock:
            if len(self._young) >= self.size or self._cells + cells > _CELLS:
                self._old, self._young, self._cells = self._young, {}, 0
            for key in keys:
                self._young[key] = outcome
            self._cells += cells

    def load(self, key: Key) -> tuple | None:
        """Kind, columns, rows, message and seconds from the file, if there is a file and it has them."""
        return self._file.load(key) if self._file else None

    def save(self, key: Key, outcome: Outcome) -> None:
        """Keeps a result in the file, if there is one and the result took long enough."""
        if self._file and outcome.seconds >= 0.001:
            self._file.save(key, outcome)

    def after_fork(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()
        if self._file:
            self._file.after_fork()

    def __reduce__(self) -> tuple:
        return ResultCache, (self.size, self._file and self._file.path)

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())

    def __repr__(self) -> str:
        return f"<cache of {len(self)} results>"


class _File:
    def __init__(self, path: Path, size: int):
        self.path, self._size = path, size
        self._opened: tuple[int, sqlite3.Connection] | None = None
        self._lock = threading.Lock()

    def _connection(self) -> sqlite3.Connection:
        if self._opened is None or self._opened[0] != getpid():
            connection = sqlite3.connect(self.path, timeout=1, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("CREATE TABLE IF NOT EXISTS result (base, sql, told, PRIMARY KEY (base, sql))")
            self._opened = getpid(), connection
        return self._opened[1]

    def load(self, key: Key) -> tuple | None:
        try:
            with self._lock:
                found = self._connection().execute("SELECT told FROM result WHERE base = ? AND sql = ?", key)
                row = found.fetchone()
            return row and _read(row[0])
        except (sqlite3.Error, ValueError, TypeError, KeyError):
            return None

    def save(self, key: Key, outcome: Outcome) -> None:
        try:
            with self._lock:
                connection = self._connection()
                connection.execute("INSERT OR REPLACE INTO result VALUES (?, ?, ?)", (*key, _told(outcome)))
                last = "(SELECT max(rowid) FROM result)"
                connection.execute(f"DELETE FROM result WHERE rowid <= {last} - ?", (self._size,))
        except sqlite3.Error:
            pass

    def after_fork(self) -> None:
        self._lock = threading.Lock()


def _told(outcome: Outcome) -> str:
    told = (outcome.kind, outcome.columns, outcome.rows, outcome.message, outcome.seconds)
    return json.dumps(told, default=lambda blob: {"blob": blob.hex()})


def _read(told: str) -> tuple:
    kind, columns, rows, message, seconds = json.loads(told)
    return kind, tuple(columns), tuple(tuple(map(_cell, row)) for row in rows), message, seconds


def _cell(value: Any) -> Any:
    return bytes.fromhex(value["blob"]) if isinstance(value, dict) else value
