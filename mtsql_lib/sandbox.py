"""One guarded SQLite connection: any text in, a typed answer out, and never a write.

The guards, each against something the others let through:

- the file is opened `mode=ro&immutable=1`, so neither it nor its folder can change, nor is one made;
- an authorizer with allow-lists of actions, tables and functions refuses before anything runs;
- a progress handler stops a statement at its deadline; SQLite calls it between its operations, so
- length limits keep one operation short, and `expansion` refuses what would grow before the first one;
- rows, and the bytes of their cells, are counted while they are fetched.

A connection is either *plain* or *careful*. Plain statements can't make long text (no `||`, no function
that builds text, at most 1,000 characters), so the clock is looked at rarely. All others run on a careful
connection: it reads the compiled program first, and the more costly calls that has, the shorter the text it
may handle.

What this is no protection against: faults in SQLite's own code (a process boundary is), a database file
made to attack SQLite, another program that rewrites the file meanwhile, and temporary files of large sorts,
which SQLite writes to the system's temporary folder until the deadline.
"""

import marshal
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic
from urllib.parse import quote

from mtsql_lib.outcome import Limits
from mtsql_lib.statements import expansion

Answer = tuple[str, tuple[str, ...], tuple[tuple, ...], str]  # kind, columns, rows, message

_READ, _SELECT = sqlite3.SQLITE_READ, sqlite3.SQLITE_SELECT
_FUNCTION, _RECURSIVE = sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE
_PLAIN_FUNCTIONS = frozenset(
    """count sum avg min max total abs round length lower upper coalesce ifnull nullif iif typeof like glob
    substr substring unicode soundex random date time datetime julianday strftime unixepoch timediff
    current_date current_time current_timestamp likely unlikely likelihood sign floor ceil ceiling trunc
    sqrt pow power exp ln log log10 log2 mod pi sin cos tan asin acos atan atan2 sinh cosh tanh asinh acosh
    atanh degrees radians row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value
    last_value nth_value octet_length""".split()
)
_CAREFUL_FUNCTIONS = _PLAIN_FUNCTIONS | frozenset(
    """group_concat string_agg concat concat_ws printf format hex unhex quote char replace instr trim ltrim
    rtrim zeroblob randomblob json json_array json_array_length json_error_position json_extract json_insert
    json_object json_patch json_pretty json_quote json_remove json_replace json_set json_type json_valid
    json_group_array json_group_object json_each json_tree -> ->> sqlite_version""".split()
)
_TABLES = frozenset(("sqlite_master", "sqlite_schema", "json_each", "json_tree"))  # and those of the database

# Seconds a byte, and a byte squared, of one call on its worst text (measured, rounded up).
_LINEAR, _MATCHING = 5e-9, 3e-7
_SQUARE = {"instr(2)": 1e-11, "replace(3)": 1e-11, "trim(2)": 3e-9, "ltrim(2)": 3e-9, "rtrim(2)": 3e-9}
_SQUARE |= {f"json_{change}(-1)": 4e-11 for change in ("remove", "set", "insert", "replace")}
_SQUARE["json_patch(2)"] = 4e-11
_STRETCH = 0.016  # seconds that the costly calls of one statement may take between two looks at the clock
_CALLS = frozenset("Function PureFunc AggStep AggStep1 AggInverse AggValue AggFinal Concat".split())

_PLAIN_STEPS, _CAREFUL_STEPS = 1000, 10  # operations between two looks
_PREPARED = 256  # statements that a connection keeps compiled
_PLAIN_TEXT = 1000  # characters of a plain statement
_PLAIN_CELL = 4000  # bytes of a text or blob that it may meet
_OF_A_CELL = 64  # bytes that a cell takes beside its text
_SHORTEST = 1000  # bytes of text that any statement may handle
_SELECTS, _NAMES = 10_000, 50_000  # what a statement may expand to
_FAILURES = (sqlite3.Error, sqlite3.Warning, ValueError, TypeError, MemoryError)
_HARD_LIMITS = {
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 500,
    sqlite3.SQLITE_LIMIT_COMPOUND_SELECT: 100,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 500,
    sqlite3.SQLITE_LIMIT_FUNCTION_ARG: 100,
    sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH: 100,
    sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH: 1,
    sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER: 1,
    sqlite3.SQLITE_LIMIT_VDBE_OP: 25_000,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
}


class Sandbox:
    """A database behind guards, for one statement at a time; any thread may use it, but not two at once.

    Raises sqlite3.Error if the file is no readable database.
    """

    def __init__(self, path: Path, limits: Limits):
        self._path, self._limits = path, limits
        cell = min(_PLAIN_CELL, limits.cell)
        self._plain = _Connection(path, limits, _PLAIN_FUNCTIONS, _PLAIN_STEPS, cell)
        self._careful: _Connection | None = None

    def run(self, sql: str) -> Answer:
        """Runs one statement; whatever goes wrong is in the answer's kind and message."""
        if len(sql) > self._limits.sql:
            return _no("too_large", f"the statement is longer than {self._limits.sql} characters")
        short = len(sql) <= _PLAIN_TEXT
        if sql.upper().count("SELECT") > (2 if short else 1):  # two short ones can't grow far
            grown = expansion(sql)
            if grown.selects > _SELECTS or grown.names > _NAMES:
                return _no("too_large", "its subqueries name each other so often that it grows too large")
        if short and "||" not in sql:
            answer = self._plain.run(sql)
            if answer is not None:
                return answer
        if self._careful is None:
            limits = self._limits
            self._careful = _Connection(self._path, limits, _CAREFUL_FUNCTIONS, _CAREFUL_STEPS, limits.cell)
        return self._careful.run_carefully(sql)

    def close(self) -> None:
        """Closes the connections."""
        self._plain.close()
        if self._careful is not None:
            self._careful.close()


class _Connection:
    def __init__(self, path: Path, limits: Limits, functions: frozenset[str], steps: int, cell: int):
        uri = f"file:{quote(str(path.absolute()))}?mode=ro&immutable=1"
        self._limits, self._functions, self._cell = limits, functions, cell
        self._deadline, self._refused, self._needs_care = float("inf"), "", False
        self._connection = sqlite3.connect(
            uri, uri=True, isolation_level=None, check_same_thread=False, cached_statements=_PREPARED
        )
        try:
            found = self._connection.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
            self._tables = _TABLES.union(name for (name,) in found)
            self._guard(steps)
        except BaseException:
            self._connection.close()
            raise

    def _guard(self, steps: int) -> None:
        connection = self._connection
        connection.execute("PRAGMA trusted_schema = OFF")
        with suppress(sqlite3.OperationalError):  # some builds have no JSON
            connection.execute("SELECT 1 FROM json_each('[]'), json_tree('[]')")  # declared by the first use
        for category, value in _HARD_LIMITS.items():
            connection.setlimit(category, value)
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._cell)
        connection.setlimit(sqlite3.SQLITE_LIMIT_SQL_LENGTH, 4 * self._limits.sql + 10)  # in bytes
        connection.set_authorizer(self._authorizer())
        connection.set_progress_handler(lambda: monotonic() > self._deadline, steps)

    def _authorizer(self) -> Callable[..., int]:
        """SQLite asks some ten times for every statement it prepares, so the usual answers come first."""
        tables, functions = self._tables, self._functions

        def authorize(action: int, first: str, second: str, _schema: str, _source: str) -> int:
            if action == _READ and (first in tables or not second):  # a subquery is read without a column
                return sqlite3.SQLITE_OK
            if action == _SELECT or action == _RECURSIVE or (action == _FUNCTION and second in functions):
                return sqlite3.SQLITE_OK
            self._refuse(action, first, second)
            return sqlite3.SQLITE_DENY

        return authorize

    def _refuse(self, action: int, first: str, second: str) -> None:
        if action == _READ:
            self._refused = f"the table {first} may not be read"
        elif action == _FUNCTION:
            self._needs_care = second in _CAREFUL_FUNCTIONS
            self._refused = f"the function {second} may not be called"
        else:
            self._refused = "only a SELECT on the tables of the database may run"

    def run(self, sql: str) -> Answer | None:
        """The answer, or None if the statement needs a careful connection."""
        self._start()
        try:
            return self._fetch(sql)
        except _FAILURES as error:
            if self._needs_care or getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_TOOBIG:
                return None
            return self._recover(sql, error)

    def run_carefully(self, sql: str) -> Answer:
        """The answer; text is kept as short as the statement's calls are costly."""
        self._start()
        try:
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._longest_text(sql))
            return self._fetch(sql)
        except _FAILURES as error:
            return self._recover(sql, error)

    def _start(self) -> None:
        self._refused, self._needs_care = "", False
        self._deadline = monotonic() + self._limits.seconds

    def _longest_text(self, sql: str) -> int:
        """Bytes of one text or blob that keep the statement's costly calls within `_STRETCH`."""
        self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, self._limits.cell)
        if sql.lstrip()[:7].lower() == "explain":
            return self._limits.cell
        linear = square = 1e-12
        for _, opcode, _, _, _, name, *_ in self._connection.execute("EXPLAIN " + sql):
            if opcode in _CALLS:
                linear += _MATCHING if name in ("like(2)", "like(3)", "glob(2)") else _LINEAR
                square += _SQUARE.get(name, 0)
        longest = min(_STRETCH / linear, (_STRETCH / square) ** 0.5, self._limits.cell)
        return max(int(longest), _SHORTEST)

    def _fetch(self, sql: str) -> Answer:
        cursor = self._connection.execute(sql)
        try:
            if cursor.description is None:
                return _no("error", "the text holds no statement")
            columns = tuple([column[0] for column in cursor.description])
            chunk = self._limits.memory // (len(columns) * (self._cell + _OF_A_CELL)) + 1
            chunk = min(chunk, self._limits.rows + 1)
            rows = cursor.fetchmany(chunk)  # so few that they can't be too large together
            size = self._fetch_more(cursor, rows, chunk) if len(rows) == chunk else 0
        finally:
            cursor.close()
        if len(rows) > self._limits.rows:
            return _no("too_large", f"more than {self._limits.rows} rows")
        if size > self._limits.memory:
            return _no("too_large", f"more than {self._limits.memory} bytes")
        return ("rows" if rows else "empty"), columns, tuple(rows), ""

    def _fetch_more(self, cursor: sqlite3.Cursor, rows: list[tuple], chunk: int) -> int:
        """Fetches until a limit is passed; returns the bytes of all rows."""
        size = _size(rows)
        while len(rows) <= self._limits.rows and size <= self._limits.memory:
            more = cursor.fetchmany(min(chunk, 1000))
            if not more:
                break
            rows += more
            size += _size(more)
        return size

    def _recover(self, sql: str, error: Exception) -> Answer:
        """Bytes that are no UTF-8 are ignored, as the official evaluator does; slower, so not at first."""
        if not str(error).startswith("Could not decode"):
            return self._failure(error)
        self._connection.text_factory = _decode
        try:
            return self._fetch(sql)
        except _FAILURES as second:
            return self._failure(second)
        finally:
            self._connection.text_factory = str

    def _failure(self, error: Exception) -> Answer:
        message = str(error)
        code = getattr(error, "sqlite_errorcode", None)
        early = code == sqlite3.SQLITE_INTERRUPT and monotonic() < self._deadline
        if early or (code == sqlite3.SQLITE_AUTH and not self._refused):
            raise KeyboardInterrupt from error  # it came inside a callback, where SQLite hides it
        if code == sqlite3.SQLITE_INTERRUPT:
            return _no("timeout", f"stopped after {self._limits.seconds:g} s")
        if self._refused:
            return _no("denied", self._refused)
        if code == sqlite3.SQLITE_READONLY or "one statement at a time" in message:
            return _no("denied", message)
        if isinstance(error, MemoryError):
            return _no("too_large", "the statement compiles to too long a program")
        if code == sqlite3.SQLITE_TOOBIG or isinstance(error, sqlite3.DataError):
            return _no("too_large", message)
        return _no("error", message)

    def close(self) -> None:
        self._connection.close()


def _no(kind: str, message: str) -> Answer:
    return kind, (), (), message


def _size(rows: list[tuple]) -> int:
    """Bytes that the rows take, nearly: marshal is the fastest thing in Python that walks all cells."""
    return len(marshal.dumps(rows)) + _OF_A_CELL * len(rows) * len(rows[0]) if rows else 0


def _decode(cell: bytes) -> str:
    return cell.decode("utf-8", "ignore")
