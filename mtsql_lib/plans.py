"""The plan of a query: which tables it reads and which of their columns it uses, in a line.

The tiny model writes it as its thought before SQL. To choose a column it must have found the table, and SQL
names the column first; with the plan each choice is a step of its own. Only names are read: the text may be
SQL that fails. Left out: aliases, whose columns go to the first table.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from mtsql_lib.statements import Token, tokens

_KEYWORDS = frozenset(
    """select distinct from join on where and or not in group by having order asc desc limit like between is
    null union intersect except all as""".split()
)
_END_OF_ON = frozenset("where group having order limit join union intersect except".split())


@dataclass
class _Block:
    """One SELECT: its tables and, as (qualifier, name), the columns outside of ON."""

    tables: list[str] = field(default_factory=list)
    columns: list[tuple[str, str]] = field(default_factory=list)
    in_on: bool = False


def plan(sql: str) -> str:
    """As in "route: distance, season; home port: name": tables in order of appearance, columns likewise."""
    used: dict[str, list[str]] = {}
    for block in _blocks(list(tokens(sql))):
        for table in block.tables:
            used.setdefault(table, [])
        for qualifier, name in block.columns:
            home = qualifier if qualifier in block.tables else block.tables[0] if block.tables else ""
            columns = used.setdefault(home, []) if home else []
            if name not in columns:
                columns.append(name)
    return "; ".join(
        f"{words(t)}: {', '.join(map(words, names))}" if names else words(t) for t, names in used.items()
    )


def words(name: str) -> str:
    """A name as words: `home_port` and `HomePort` are both "home port"."""
    return " ".join(re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+", name)).lower()


def _blocks(found: list[Token]) -> list[_Block]:
    """The SELECTs in order of appearance."""
    blocks: list[_Block] = []
    open_at: dict[int, _Block] = {}  # by depth
    texts = ["", *(token.low for token in found), ""]
    for number, token in enumerate(found):
        before, after = texts[number], texts[number + 2]
        if token.kind not in ("word", "name"):
            continue
        if token.low == "select":
            open_at[token.depth] = _Block()
            blocks.append(open_at[token.depth])
        block = open_at.get(token.depth) or open_at.get(token.depth - 1)  # one deeper: inside a function
        if block is None:
            continue
        if token.kind == "word" and token.low in _KEYWORDS:
            block.in_on = token.low == "on" or (block.in_on and token.low not in _END_OF_ON)
        elif before in ("from", "join"):
            block.tables.append(token.text)
        elif after not in (".", "(") and not block.in_on:
            block.columns.append((found[number - 2].text if before == "." else "", token.text))
    return blocks
