"""What one statement may take and what became of it: `Limits` and `Outcome`."""

from collections.abc import Callable
from typing import Any, NamedTuple


class Limits(NamedTuple):
    """What one statement may take.

    seconds: wall time; rows: of the result; cell: bytes of one text or blob, also while it is computed;
    memory: bytes of all cells of a result; sql: characters of the statement.
    """

    seconds: float = 5.0
    rows: int = 100_000
    cell: int = 100_000
    memory: int = 64_000_000
    sql: int = 20_000


class Outcome:
    """What became of one statement; it cannot be changed.

    kind: `rows`, `empty` (zero rows), `error` (message = SQLite's), `timeout`, `denied` (message = why),
    `too_large` or `missing_database`. seconds: of the execution that made it, also if it is from the cache.
    tie: the last `ORDER BY … LIMIT` cuts through rows with equal keys and different columns, so that another
    SQLite may return others; found at the first look (`mtsql_lib.ties`) and no part of equality.
    """

    kind: str
    columns: tuple[str, ...]
    rows: tuple[tuple, ...]
    message: str
    seconds: float

    def __init__(
        self,
        kind: str,
        columns: tuple[str, ...] = (),
        rows: tuple[tuple, ...] = (),
        message: str = "",
        seconds: float = 0.0,
        tie: bool | Callable[[], bool] = False,
    ):
        fields = self.__dict__  # one is made for every execution, and a frozen dataclass is slow to make
        fields["kind"], fields["columns"], fields["rows"] = kind, columns, rows
        fields["message"], fields["seconds"], fields["_tie"] = message, seconds, tie

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"an outcome cannot be changed; make another with replaced({name}=...)")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"an outcome cannot be changed; it keeps {name}")

    def replaced(self, **fields: Any) -> "Outcome":
        """The same outcome but for some fields."""
        known = {name: value for name, value in self.__dict__.items() if name != "_tie"}
        return Outcome(**{**known, "tie": self.__dict__["_tie"], **fields})

    @property
    def tie(self) -> bool:
        """Would another SQLite be free to return other rows? The question is asked at the first look."""
        answer = self.__dict__["_tie"]
        if callable(answer):
            answer = self.__dict__["_tie"] = bool(answer())
        return answer

    @property
    def ok(self) -> bool:
        """The statement ran to its end."""
        return self.kind in ("rows", "empty")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Outcome):
            return NotImplemented
        return self._told() == other._told()

    def __hash__(self) -> int:
        return hash(self._told())

    def _told(self) -> tuple:
        return self.kind, self.columns, self.rows, self.message

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_tie": self.tie}

    def __repr__(self) -> str:
        if not self.ok:
            return f"<{self.kind}: {self.message}>"
        some = ", ".join(map(repr, self.rows[:3])) + (", ..." if len(self.rows) > 3 else "")
        rows = "1 row" if len(self.rows) == 1 else f"{len(self.rows)} rows"
        return f"<{rows} of ({', '.join(self.columns)})" + (f": {some}>" if some else ">")

    def _repr_html_(self) -> str:
        from html import escape

        if not self.ok:
            return f"<b>{escape(self.kind)}</b>: {escape(self.message)}"
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        shown = ("".join(f"<td>{escape(str(cell))}</td>" for cell in row) for row in self.rows[:10])
        body = "".join(f"<tr>{cells}</tr>" for cells in shown)
        more = f"<caption>first 10 of {len(self.rows)} rows</caption>" if len(self.rows) > 10 else ""
        return f"<table>{more}<tr>{head}</tr>{body}</table>"
