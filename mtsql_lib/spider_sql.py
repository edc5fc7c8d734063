"""Spider's SQL: the tokens and the small grammar that decide which queries exact set match can see.

The grammar is the official evaluator's, odd corners included (docs/evaluator.md lists them): every `x AS y`
anywhere in the text names a table, a bare column belongs to the first FROM table that has it, and whatever
follows a complete query is ignored. It is no SQL parser: it knows no LEFT JOIN, CASE, CTE, quoted name or `IS
NULL`; a query that uses one is simply unparsable. Beside what the official clause tree holds, the tree keeps
what strict matching needs: LIMIT as it is written and the direction of each ORDER BY term.
"""

from __future__ import annotations

import re

from mtsql_lib.errors import KitError

CLAUSES = frozenset(("select", "from", "where", "group", "order", "limit", "intersect", "union", "except"))
JOINS = frozenset(("join", "on", "as"))
OPERATORS = ("not", "between", "=", ">", "<", ">=", "<=", "!=", "in", "like", "is", "exists")
ARITHMETIC = ("none", "-", "+", "*", "/")
AGGREGATES = ("none", "max", "min", "count", "sum", "avg")
SET_OPERATORS = ("intersect", "union", "except")

_CLAUSE_ENDS = CLAUSES | {")", ";"}
_CONDITION_ENDS = _CLAUSE_ENDS | JOINS
_VALUE_ENDS = CLAUSES | JOINS | {",", ")", "and"}
_OPERATOR_IDS = {name: number for number, name in enumerate(OPERATORS)}
_ARITHMETIC_IDS = {name: number for number, name in enumerate(ARITHMETIC)}
_AGGREGATE_IDS = {name: number for number, name in enumerate(AGGREGATES)}
_BETWEEN = _OPERATOR_IDS["between"]
_END = "\0"  # stands after the last token, so that reading past the end is an ordinary mismatch


class SpiderSyntaxError(KitError):
    """The text is outside Spider's grammar; the message says where reading stopped."""


class Select:
    """One SELECT as a clause tree.

    A column unit is `(aggregate, column id, distinct)`, a value unit `(arithmetic, column unit, column unit
    or None)`, a condition `(negated, operator, value unit, operand, second operand)`; an operand is a float,
    a quoted literal, a column unit or a `Select`. `tables` holds table ids and `Select`s. `on`, `where` and
    `having` alternate conditions with "and"/"or". `order` is None or `(last direction, value units)`;
    `set_operator` joins this SELECT with `branch`, the rest of the text.
    """

    __slots__ = (
        "distinct", "items", "tables", "on", "where", "group", "having",
        "order", "directions", "limit", "set_operator", "branch", "ignored",
    )  # fmt: skip

    def __init__(self) -> None:
        self.distinct, self.items, self.tables, self.on = False, [], [], []
        self.where, self.group, self.having = [], [], []
        self.order, self.directions, self.limit, self.set_operator, self.branch = None, [], None, None, None
        self.ignored = []

    def __repr__(self) -> str:
        parts = (f"{name}={getattr(self, name)!r}" for name in self.__slots__ if getattr(self, name))
        return f"Select({', '.join(parts)})"


def conditions(chain: list) -> list[tuple]:
    """The conditions of a chain: every second link. A chain that lost a connective is read askew, as
    officially.
    """
    return [link for link in chain[::2] if type(link) is tuple] if chain else chain


# Tokens: those of nltk's Treebank tokeniser, which was made for English and which the official parser uses.

_UNUSUAL = re.compile(  # of lower-cased ASCII; one kind of character to look for first makes the search quick
    r"""[^a-z0-9_ \t\n\r\f\v();<>!*=+/](?:(?<![.,"-])|(?<=\.)(?:[.\s)>]|$)|(?<=-)-|(?<=,)[\d,]"""
    r"""|(?<=")[^\s(),;<>!*]|(?<=[^\s(),;<>!*]"))"""
)
_CONTRACTED = ("cannot", "gimme", "gonna", "gotta", "lemme", "wanna")
_WORD = re.compile(r"""[^\s(),;<>!*"]+|"[^"]*"|[!<>]\s*=(?=[\s(),;<>!*]|$)|[(),;<>!*]""")
_SPACED = (
    (r"[«“‘„]|`+", r" \g<0> "),
    (r"([^.])\.([])}>»”’ ]*)\s*$", r"\1 . \2 "),
    (r"([:,])(\D)", r" \1 \2"),
    (r"[:,]$", r" \g<0> "),
    (r"\.{2,}", r" \g<0> "),
    (r"[;@#$%&\u2012-\u2015]", r" \g<0> "),
    (r"([^.])\.([])}>]*)\s*$", r"\1 .\2 "),
    (r"[][?!*(){}<>»”’]", r" \g<0> "),
    (r"--", r" -- "),
    (r"(?i)\b(?:(can)(not)|(gim)(me)|(gon)(na)|(got)(ta)|(lem)(me))\b", r" \1\3\5\7\9 \2\4\6\8\10 "),
    (r"(?i)\b(wan)(na)(?=\s|$)", r" \1 \2 "),
)


def tokens(text: str) -> list[str]:
    """The tokens of a query: lower-cased words, quoted literals in one piece with their case, `> =` joined to
    `>=`.

    Single quotes count as double ones. `=` ends no word, so `a=3` is one (unparsable) token, as officially.
    Raises SpiderSyntaxError for an odd number of quotes.
    """
    text = text.replace("'", '"')
    parts = text.split('"')
    if len(parts) % 2 == 0:
        raise SpiderSyntaxError(
            "odd number of quotes: every literal must be closed, and no apostrophe may stand inside one"
        )
    lowered = [part.lower() for part in parts[::2]]
    outside = '"'.join(lowered)
    if not outside.isascii() or _UNUSUAL.search(outside) or any(word in outside for word in _CONTRACTED):
        return _unusual_tokens(parts)
    parts[::2] = lowered
    found = _WORD.findall('"'.join(parts))
    return [word[0] + "=" if word[0] in "!<>" and len(word) > 1 else word for word in found]


def _unusual_tokens(parts: list[str]) -> list[str]:
    """The Treebank rules one by one, for what the single pass does not cover."""
    literals = {f"__val_{n}__": f'"{part}"' for n, part in enumerate(parts) if n % 2}
    text = "".join(f"__val_{n}__" if n % 2 else part for n, part in enumerate(parts))
    for pattern, spaced in _SPACED:
        text = re.sub(pattern, spaced, text)
    words = [literals.get(word, word) for word in (w.lower() for w in text.split())]
    for n in range(len(words) - 1, 0, -1):
        if words[n] == "=" and words[n - 1] in ("!", "<", ">"):
            words[n - 1 : n + 1] = [words[n - 1] + "="]
    return words


# Grammar


def parse(text: str, schema) -> Select:
    """The clause tree of a query; `schema` is an `exact_match.EvaluatorSchema`.

    Raises SpiderSyntaxError where the official parser fails. What stands after a complete query is ignored,
    as there.
    """
    words = tokens(text)
    try:
        at, tree = _Reader(words, schema).select(0)
        tree.ignored += words[at:]
        return tree
    except (LookupError, ValueError, RecursionError) as problem:
        raise SpiderSyntaxError(
            f"outside Spider's grammar ({type(problem).__name__}: {problem}): {text[:200]}"
        ) from None


class _Reader:
    """A recursive descent over the tokens; every step takes the position to read at and returns the next one
    first.
    """

    def __init__(self, words: list[str], schema) -> None:
        self.names = {words[n + 1]: words[n - 1] for n, word in enumerate(words) if word == "as"}
        if not schema.columns.keys().isdisjoint(self.names):
            raise SpiderSyntaxError("an alias has the name of a table")
        self.names.update(schema.own_names)
        self.words = [*words, _END, _END]
        self.columns, self.ids = schema.columns, schema.ids

    def select(self, at: int) -> tuple[int, Select]:
        words, tree = self.words, Select()
        block = words[at] == "("
        start = at + block
        at, scope = self.tables(words.index("from", at) + 1, tree)
        self.items(start, tree, scope)
        if words[at] == "where":
            at = self.conditions(at + 1, scope, tree.where, tree)
        if words[at] == "group":
            at = self.group(self.expect(at + 1, "by"), scope, tree.group)
        if words[at] == "having":
            at = self.conditions(at + 1, scope, tree.having, tree)
        if words[at] == "order":
            at = self.order(self.expect(at + 1, "by"), scope, tree)
        if words[at] == "limit":
            tree.limit = words[at + 1]
            if tree.limit == _END:
                raise ValueError("LIMIT without a number")
            at += 2
        at = self.semicolons(at)
        if block:
            at = self.semicolons(self.expect(at, ")"))
        if words[at] in SET_OPERATORS:
            tree.set_operator = words[at]
            at, tree.branch = self.select(at + 1)
        return at, tree

    def expect(self, at: int, word: str) -> int:
        if self.words[at] != word:
            raise ValueError(f"{word!r} expected, {self.words[at]!r} found at token {at}")
        return at + 1

    def semicolons(self, at: int) -> int:
        while self.words[at] == ";":
            at += 1
        return at

    def items(self, at: int, tree: Select, scope: list[str]) -> None:
        words, at = self.words, self.expect(at, "select")
        if words[at] == "distinct":
            tree.distinct, at = True, at + 1
        while (word := words[at]) not in CLAUSES and word != _END:
            aggregate = _AGGREGATE_IDS.get(word)
            at, unit = self.value_unit(words, at if aggregate is None else at + 1, scope)
            tree.items.append((aggregate or 0, unit))
            if words[at] == ",":
                at += 1

    def tables(self, at: int, tree: Select) -> tuple[int, list[str]]:
        words, scope = self.words, []
        while words[at] != _END:
            block = words[at] == "("
            at += block
            if words[at] == "select":
                at, inner = self.select(at)
                tree.tables.append(inner)
            else:
                at += words[at] == "join"
                name = self.names[words[at]]
                tree.tables.append(self.ids[name])
                scope.append(name)
                at += 3 if words[at + 1] == "as" else 1
            if words[at] == "on":
                if tree.on:
                    tree.on.append("and")
                at = self.conditions(at + 1, scope, tree.on, tree)
            if block:
                at = self.expect(at, ")")
            if words[at] in _CLAUSE_ENDS:
                break
        return at, scope

    def conditions(self, at: int, scope: list[str], into: list, tree: Select) -> int:
        words = self.words
        while words[at] != _END:
            at, unit = self.value_unit(words, at, scope)
            negated = words[at] == "not"
            at += negated
            operator = _OPERATOR_IDS[words[at]]
            at, first = self.operand(at + 1, scope, tree)
            second = None
            if operator == _BETWEEN:
                at, second = self.operand(self.expect(at, "and"), scope, tree)
            into.append((negated, operator, unit, first, second))
            if words[at] in _CONDITION_ENDS:
                break
            if words[at] in ("and", "or"):
                into.append(words[at])
                at += 1
        return at

    def operand(self, at: int, scope: list[str], tree: Select) -> tuple[int, object]:
        words, start = self.words, at
        block = words[at] == "("
        at += block
        word = words[at]
        if word == "select":
            at, value = self.select(at)
        elif word[0] == '"':
            at, value = at + 1, word
        else:
            try:
                at, value = at + 1, float(word)
            except ValueError:
                at = start + block
                while words[at] not in _VALUE_ENDS and words[at] != _END:
                    at += 1
                # only the first column of the stretch is read: an OR behind it is lost with the rest
                read, value = self.column_unit([*words[start:at], _END], 0, scope)
                tree.ignored += words[start + read : at]
        return (self.expect(at, ")") if block else at), value

    def group(self, at: int, scope: list[str], into: list) -> int:
        words = self.words
        while words[at] != _END and words[at] not in _CLAUSE_ENDS:
            at, unit = self.column_unit(words, at, scope)
            into.append(unit)
            if words[at] != ",":
                break
            at += 1
        return at

    def order(self, at: int, scope: list[str], tree: Select) -> int:
        words, direction, units = self.words, "asc", []
        while words[at] != _END and words[at] not in _CLAUSE_ENDS:
            at, unit = self.value_unit(words, at, scope)
            units.append(unit)
            tree.directions.append("asc")
            if words[at] in ("asc", "desc"):
                direction = tree.directions[-1] = words[at]
                at += 1
            if words[at] != ",":
                break
            at += 1
        tree.order = (direction, units)
        return at

    def value_unit(self, words: list[str], at: int, scope: list[str]) -> tuple[int, tuple]:
        block = words[at] == "("
        at, left = self.column_unit(words, at + block, scope)
        operation, right = _ARITHMETIC_IDS.get(words[at], -1), None
        if operation >= 0:
            at, right = self.column_unit(words, at + 1, scope)
        if block:
            at = self.expect(at, ")")
        return at, (max(operation, 0), left, right)

    def column_unit(self, words: list[str], at: int, scope: list[str]) -> tuple[int, tuple]:
        block = words[at] == "("
        at += block
        aggregate = _AGGREGATE_IDS.get(words[at], 0)
        called = words[at] in _AGGREGATE_IDS
        if called:
            if words[at + 1] != "(":
                raise ValueError(f"'(' expected after {words[at]!r}")
            at += 2
        distinct = words[at] == "distinct"
        at += distinct
        unit = (aggregate, self.column(words[at], scope), distinct)
        at += 1
        if (
            called or block
        ):  # a call inside an extra pair of parentheses leaves the outer one open, as officially
            if words[at] != ")":
                raise ValueError(f"')' expected, {words[at]!r} found")
            at += 1
        return at, unit

    def column(self, word: str, scope: list[str]) -> str:
        if word == "*":
            return "__all__"
        if "." in word:
            table, name = word.split(".")
            return self.ids[f"{self.names[table]}.{name}"]
        for name in scope:
            table = self.names[name]
            if word in self.columns[table]:
                return self.ids[f"{table}.{word}"]
        raise ValueError(f"no table of FROM has a column {word!r}")
