"""SQL as text: tokens, one spelling for what differs in white space only, and how far a statement expands.

Nothing here understands SQL; it is what has to be known of a statement before SQLite is given it. Left out
on purpose: any rewriting beyond white space, so that messages and column names stay SQLite's own.
"""

import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

_SPACE = r"[ \t\n\f\r]"  # SQLite's white space; a no-break space, say, is part of a name
_STRING = r"'[^']*+(?:''[^']*+)*+(?:'|\Z)"  # what is never closed goes on to the end: so no text takes long
_NAME = r""""[^"]*+(?:""[^"]*+)*+(?:"|\Z)|`[^`]*+(?:`|\Z)|\[[^\]]*+(?:\]|\Z)"""
_IN_QUOTES = re.compile(f"({_STRING}|{_NAME})")
_ONE_SPACE = str.maketrans("\t\n\f\r", "    ")
_TOKEN = re.compile(
    rf"""(?:{_SPACE}++|--[^\n]*+|/\*.*?(?:\*/|\Z))*+(?:
    (?P<word>[^\0-@\[-^`{{-\x7f][\w$]*+)
    |(?P<string>{_STRING})
    |(?P<name>{_NAME})
    |(?P<number>\d[\w.]*+|\.\d[\w.]*+)
    |(?P<mark>.)
    |\Z)""",
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset(
    """select from where group order by having limit offset as and or not in is null like between case when
    then else end join on inner left outer cross natural using union all intersect except distinct exists
    with""".split()
)
_AFTER_FROM = frozenset("where group order having limit window union intersect except".split())
_BLOCKS = 300  # more SELECTs in parentheses than this are not followed


def normalise(sql: str) -> str:
    """The statement with every run of white space outside quotes as one space, and no semicolon at its end.

    Text with a comment is only stripped: a line break ends a comment.
    """
    if _uneven(sql) and "--" not in sql and "/*" not in sql:
        if any(map(_uneven, _IN_QUOTES.findall(sql))):
            parts = _IN_QUOTES.split(sql)  # what is in quotes stands at the odd places
            parts[::2] = map(_even, parts[::2])
            sql = "".join(parts)
        else:
            sql = _even(sql)
    return sql.strip(" \t\n\f\r;")


def _uneven(text: str) -> bool:
    return "  " in text or not text.isprintable()


def _even(text: str) -> str:
    if not text.isprintable():
        text = text.translate(_ONE_SPACE)
    while "  " in text:
        text = text.replace("  ", " ")
    return text


def may_tie(sql: str) -> bool:
    """Cheap: the statement has both words of `ORDER BY … LIMIT` at all (`ties` has the answer)."""
    low = sql.lower()
    return "limit" in low and "order" in low


class Token(NamedTuple):
    """One token: kind (word, string, name, number, mark), text, place, depth of parentheses around it.

    `low` is the text in lower case, a name without its quotes.
    """

    kind: str
    text: str
    low: str
    start: int
    end: int
    depth: int


def tokens(sql: str) -> Iterator[Token]:
    """The tokens of any text, valid SQL or not; white space and comments are left out."""
    depth = 0
    for match in _TOKEN.finditer(sql):
        kind = match.lastgroup
        if kind is None:
            return
        text = match[kind]
        low = text.strip('"`[]').lower() if kind == "name" else text.lower()
        depth -= text == ")"
        yield Token(kind, text, low, match.start(kind), match.end(), depth)
        depth += text == "("


class Expansion(NamedTuple):
    """How large SQLite's own copy of a statement grows: its SELECTs, and the names in the largest of
    them."""

    selects: int
    names: int


@lru_cache(maxsize=4096)
def expansion(sql: str) -> Expansion:
    """An upper estimate of what SQLite makes of a statement by writing out CTEs and merging subqueries.

    Twenty CTEs that each name the one before twice are a million SELECTs, and SQLite 3.40 writes them all out
    before the first operation at which a deadline could stop it.
    """
    root, ctes, count = _blocks(list(tokens(sql)))
    if count > _BLOCKS:
        return Expansion(_BLOCKS**2, _BLOCKS**2)
    known: dict[int, tuple[int, int]] = {}
    largest = 0

    def measure(block: _Block) -> tuple[int, int]:
        """SELECTs in all, and how often one name of the innermost table may stand in this block's columns."""
        nonlocal largest
        if id(block) not in known:
            known[id(block)] = 1, 1  # a recursive CTE meets itself here
            parts = block.inner + [named for table in block.tables for named in ctes.get(table, ())]
            sizes = [measure(part) for part in parts]
            growth = max((columns for _, columns in sizes), default=1)
            largest = max(largest, block.names * growth)
            columns = 1 if block.groups else block.repeats * growth
            known[id(block)] = 1 + sum(selects for selects, _ in sizes), columns
        return known[id(block)]

    return Expansion(measure(root)[0], largest)


class _Block:
    """One SELECT with the blocks inside it and the names it takes rows from."""

    def __init__(self) -> None:
        self.inner: list[_Block] = []
        self.tables: list[str] = []
        self.listed: Counter = Counter()  # names in the select list now being read
        self.repeats = 1  # how often the most frequent name stands in one select list
        self.names, self.groups = 0, False
        self.part = ""  # "list" between SELECT and FROM, "from" after it, "" elsewhere

    def read(self, token: Token, before: str, after: str) -> None:
        """Takes in one token; `before` and `after` are the texts of its neighbours in lower case."""
        word = token.low
        if token.kind == "word" and word in _KEYWORDS:
            self._keyword(word)
        elif token.kind in ("word", "name") and after != ".":
            self.names += 1
            if self.part == "list" and before != "as":
                self._count(word)
            if before != "." and (self.part == "from" or before == "in"):
                self.tables.append(word)
        elif token.text == "*" and self.part == "list" and before in ("select", "distinct", "all", ",", "."):
            self._count("*")

    def _keyword(self, word: str) -> None:
        if word == "select":
            self.part, self.listed = "list", Counter()
        elif word == "from":
            self.part = "from"
        elif word in _AFTER_FROM:
            self.part = ""
        self.groups |= word == "group"

    def _count(self, word: str) -> None:
        self.listed[word] += 1
        self.repeats = max(self.repeats, self.listed[word] + (self.listed["*"] if word != "*" else 0))


def _blocks(found: list[Token]) -> tuple[_Block, dict[str, list[_Block]], int]:
    """The outermost block, the CTEs by name (anywhere in the text), and the number of blocks inside."""
    root, count = _Block(), 0
    ctes: dict[str, list[_Block]] = {}
    opened: list[tuple[_Block, str]] = []  # for every open parenthesis: the block around, the word before
    block, closed = root, ""
    for number, token in enumerate(found):
        before = found[number - 1].low if number else ""
        after = found[number + 1].low if number + 1 < len(found) else ""
        if token.text == "(":
            opened.append((block, before))
            if after in ("select", "with", "values"):
                inner, name, count = _Block(), _cte_name(found, number, closed), count + 1
                (ctes.setdefault(name, []) if name else block.inner).append(inner)
                block = inner
        elif token.text == ")":
            block, closed = opened.pop() if opened else (root, "")
        else:
            block.read(token, before, after)
    return root, ctes, count


def _cte_name(found: list[Token], number: int, closed: str) -> str:
    """The name in `name [(columns)] AS [[NOT] MATERIALIZED] (`, or ""; `closed` stood before that."""
    at = number - 1
    while at > 0 and found[at].low in ("materialized", "not"):
        at -= 1
    if at < 1 or found[at].low != "as":
        return ""
    return closed if found[at - 1].text == ")" else found[at - 1].low
