"""Strict comparison of clause trees: what the official exact set match looks away from.

A query is spelled in one canonical way: parts whose order means nothing are sorted (SELECT list, tables,
AND-ed and OR-ed conditions, the two sides of a join condition), everything else counts as written: literals,
DISTINCT, the number of LIMIT, the direction of each ORDER BY term, which conditions AND and OR bind. What it
leaves open: Spider's grammar forgets which of two aliases of the same table is meant.
"""

from __future__ import annotations

from mtsql_lib.spider_sql import AGGREGATES, ARITHMETIC, OPERATORS, Select


def canonical(tree: Select, twins: dict[str, str], prefixes: frozenset[str] | None = None) -> str:
    """The canonical spelling; `twins` merges foreign-key columns of the outermost FROM as the official
    comparison does.
    """
    if prefixes is None:
        prefixes = frozenset(table[:-2] for table in tree.tables if isinstance(table, str))
    speller = _Speller(twins, prefixes)
    parts = [
        "select distinct" if tree.distinct else "select",
        _sorted(f"{AGGREGATES[aggregate]} {speller.value(unit)}" for aggregate, unit in tree.items),
        "from",
        _sorted(table if isinstance(table, str) else speller.nested(table) for table in tree.tables),
        "on",
        _Speller({}, prefixes).chain(tree.on),
        "where",
        speller.chain(tree.where),
        "group",
        ",".join(speller.column(unit) for unit in tree.group),
        "having",
        speller.chain(tree.having),
        "order",
        ",".join(f"{speller.value(u)} {d}" for u, d in zip(tree.order[1], tree.directions, strict=True))
        if tree.order
        else "",
        f"limit {_number(tree.limit)}",
        *tree.ignored,
    ]
    if tree.branch is not None:
        parts += [tree.set_operator, canonical(tree.branch, twins, prefixes)]
    return " ".join(parts)


class _Speller:
    def __init__(self, twins: dict[str, str], prefixes: frozenset[str]) -> None:
        self.twins, self.prefixes = twins, prefixes

    def column(self, unit: tuple) -> str:
        aggregate, name, distinct = unit
        twin = self.twins.get(name)
        if twin is not None and name.partition(".")[0] in self.prefixes:
            name = twin
        return f"{AGGREGATES[aggregate]}({'distinct ' * distinct}{name})"

    def value(self, unit: tuple) -> str:
        operation, left, right = unit
        return (
            self.column(left)
            if right is None
            else f"{self.column(left)} {ARITHMETIC[operation]} {self.column(right)}"
        )

    def nested(self, tree: Select) -> str:
        return f"({canonical(tree, {}, frozenset())})"

    def operand(self, operand: object) -> str:
        if operand is None:
            return ""
        if isinstance(operand, Select):
            return self.nested(operand)
        return self.column(operand) if isinstance(operand, tuple) else repr(operand)

    def condition(self, condition: tuple) -> str:
        negated, operator, unit, first, second = condition
        sides = [self.value(unit), self.operand(first)]
        if OPERATORS[operator] == "=" and isinstance(first, tuple):
            sides.sort()
        return f"{'not ' * negated}{sides[0]} {OPERATORS[operator]} {sides[1]} {self.operand(second)}"

    def chain(self, chain: list) -> str:
        """AND binds tighter than OR: a bag of OR-ed bags of AND-ed conditions. A missing connective is read
        as AND.
        """
        alternatives: list[list[str]] = [[]]
        for link in chain:
            if link == "or":
                alternatives.append([])
            elif link != "and":
                alternatives[-1].append(self.condition(link))
        return (
            " or ".join(sorted("[" + " and ".join(sorted(group)) + "]" for group in alternatives))
            if chain
            else ""
        )


def _sorted(parts) -> str:
    return ", ".join(sorted(parts))


def _number(limit: str | None) -> object:
    try:
        return limit if limit is None else float(limit)
    except ValueError:
        return limit
