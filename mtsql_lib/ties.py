"""Ties: does the last `ORDER BY … LIMIT` of a statement cut through rows that its order can't tell apart?

If it does, which rows are returned is up to the build of SQLite, and so is the score of a prediction that is
compared with them. Found by running the statement again, with a higher limit and its keys as further columns.

Not seen: a limit inside a subquery, a limit that is no number, keys that are equal only under a collation,
keys of UNION, INTERSECT or EXCEPT that are no result columns, and, under DISTINCT, keys that are not shown.
"""

from collections.abc import Callable
from typing import NamedTuple

from mtsql_lib.statements import Token, tokens

_AHEAD = 100  # rows looked at beyond the cut
_DIRECTIONS = frozenset(("asc", "desc", "nulls", "first", "last"))
_COMPOUND = frozenset(("union", "intersect", "except"))


class _Cut(NamedTuple):
    head: str  # all before ORDER BY
    keys: list[str]  # without their directions
    order: str  # the text between BY and LIMIT
    offset: int
    limit: int
    place: int | None  # where further columns go into `head`; None if they can't


def tied(sql: str, columns: tuple[str, ...], execute: Callable[[str], tuple[tuple, ...] | None]) -> bool:
    """Whether the cut is arbitrary; `columns` are the statement's own, `execute` gives its rows or None."""
    cut = _cut(sql)
    if cut is None:
        return False
    added: list[str] = []
    places = [_place(key, columns, added) for key in cut.keys]
    if added and cut.place is None:
        return False
    head = cut.head
    if added:
        head = f"{head[: cut.place]}, {', '.join(added)} {head[cut.place :]}"
    end = cut.offset + cut.limit
    rows = execute(f"{head} ORDER BY {cut.order} LIMIT {end + _AHEAD}") or ()
    keys = [tuple(row[place] for place in places) for row in rows]
    shown = [row[: len(columns)] for row in rows]
    return any(_arbitrary(keys, shown, at) for at in {cut.offset, end})


def _arbitrary(keys: list[tuple], shown: list[tuple], at: int) -> bool:
    """Whether the rows on both sides of position `at` have one key, and rows with that key differ."""
    if not 0 < at < len(keys) or keys[at - 1] != keys[at]:
        return False
    return len({row for key, row in zip(keys, shown, strict=True) if key == keys[at]}) > 1


def _place(key: str, columns: tuple[str, ...], added: list[str]) -> int:
    """The column with this key; if there is none, the key is added behind the others."""
    if key.isdigit() and 0 < int(key) <= len(columns):
        return int(key) - 1
    for place, column in enumerate(columns):
        if _bare(column) == _bare(key):
            return place
    added.append(key)
    return len(columns) + len(added) - 1


def _bare(text: str) -> str:
    return "".join(text.lower().split()).strip('"`[]')


def _cut(sql: str) -> _Cut | None:
    found = [token for token in tokens(sql) if token.depth == 0]
    words = [token.low if token.kind == "word" else token.text for token in found]
    pairs = list(zip(words, words[1:], strict=False))
    order = len(pairs) - 1 - pairs[::-1].index(("order", "by")) if ("order", "by") in pairs else -1
    if order < 0 or "limit" not in words[order:]:
        return None
    limit = words.index("limit", order)
    numbers = _numbers(words[limit + 1 :])
    if numbers is None:
        return None
    keys = _keys(sql, found[order + 2 : limit])
    by = sql[found[order + 1].end : found[limit].start]
    simple = "from" in words[:order] and not _COMPOUND & set(words[:order])
    place = found[words.index("from")].start if simple else None
    return _Cut(sql[: found[order].start], keys, by, *numbers, place)


def _numbers(words: list[str]) -> tuple[int, int] | None:
    """Offset and limit from `n`, `n OFFSET m` or `m, n`."""
    if not words or not all(word.isdigit() for word in words[::2]):
        return None
    if len(words) == 1:
        return 0, int(words[0])
    if len(words) != 3 or words[1] not in (",", "offset"):
        return None
    first, second = int(words[0]), int(words[2])
    return (first, second) if words[1] == "," else (second, first)


def _keys(sql: str, found: list[Token]) -> list[str]:
    """The terms of ORDER BY as text; of a term in parentheses, the closing one is its last token here."""
    keys: list[str] = []
    term: list[Token] = []
    for token in [*found, None]:
        if token is not None and token.text != ",":
            term.append(token)
            continue
        while len(term) > 1 and term[-1].kind == "word" and term[-1].low in _DIRECTIONS:
            term.pop()
        if term:
            keys.append(sql[term[0].start : term[-1].end])
        term = []
    return keys
