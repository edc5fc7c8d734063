"""Structured SQL of the generated world: the dialogue moves edit it, `to_sql` spells it.

It covers what Spider's evaluator can parse (`docs/evaluator.md`): joins along foreign keys, one AND/OR
chain of conditions, GROUP BY with HAVING, ORDER BY with LIMIT, nested queries as condition operands, and
one set operation. It is not a parser: text never becomes a `Query`.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Column:
    """A column of a table; the name `*` stands for all of them."""

    table: str
    name: str


@dataclass(frozen=True)
class Item:
    """One entry of SELECT or ORDER BY: a column, perhaps under an aggregate (`count`, `sum`, `avg`, `min`,
    `max`).
    """

    column: Column
    aggregate: str = ""
    distinct: bool = False


@dataclass(frozen=True)
class Literal:
    """A constant: as the database stores it and as a person types it in a question."""

    stored: str | int | float
    spoken: str

    @property
    def mismatch(self) -> bool:
        """True if the typed form used as an SQL literal would not be equal to the stored one."""
        return isinstance(self.stored, str) and self.stored != self.spoken


@dataclass(frozen=True)
class Condition:
    """`column op value`; value is a Literal, a pair of Literals (`between`), a Query (nested) or None (`is
    null`).

    `aggregate` is used in HAVING only. Operators: = != > < >= <= like between in, not in, is null, is not
    null.
    """

    column: Column
    op: str
    value: Literal | tuple[Literal, Literal] | Query | None = None
    aggregate: str = ""


@dataclass(frozen=True)
class Join:
    """`JOIN table ON left = right`."""

    table: str
    left: Column
    right: Column


@dataclass(frozen=True)
class Query:
    """One SELECT; `base` is the first table of FROM, `joins` the others in order."""

    select: tuple[Item, ...]
    base: str
    joins: tuple[Join, ...] = ()
    where: tuple[Condition, ...] = ()
    connective: str = "and"
    group: tuple[Column, ...] = ()
    having: tuple[Condition, ...] = ()
    order: tuple[Item, ...] = ()
    descending: bool = False
    limit: int = 0
    distinct: bool = False
    compound: tuple[str, Query] | None = None  # ("union" | "intersect" | "except", right side)

    @property
    def tables(self) -> tuple[str, ...]:
        """The tables of FROM, in order."""
        return (self.base, *(join.table for join in self.joins))


def to_sql(query: Query) -> str:
    """Spell a query: upper-case keywords, names qualified only where several tables are joined."""
    wide = len(query.tables) > 1
    parts = [
        "SELECT",
        ("DISTINCT " if query.distinct else "") + ", ".join(_item(i, wide) for i in query.select),
    ]
    parts += ["FROM", query.base]
    parts += [
        f"JOIN {j.table} ON {j.left.table}.{j.left.name} = {j.right.table}.{j.right.name}"
        for j in query.joins
    ]
    if query.where:
        glue = f" {query.connective.upper()} "
        parts += ["WHERE", glue.join(_condition(c, wide) for c in query.where)]
    if query.group:
        parts += ["GROUP BY", ", ".join(_name(c, wide) for c in query.group)]
    if query.having:
        parts += ["HAVING", " AND ".join(_condition(c, wide) for c in query.having)]
    if query.order:
        direction = " DESC" if query.descending else " ASC"
        parts += ["ORDER BY", ", ".join(_item(i, wide) for i in query.order) + direction]
    if query.limit:
        parts += ["LIMIT", str(query.limit)]
    if query.compound:
        operator, right = query.compound
        parts += [operator.upper(), to_sql(right)]
    return " ".join(parts)


def _name(column: Column, wide: bool) -> str:
    return f"{column.table}.{column.name}" if wide and column.name != "*" else column.name


def _item(item: Item, wide: bool) -> str:
    name = ("DISTINCT " if item.distinct else "") + _name(item.column, wide)
    return f"{item.aggregate}({name})" if item.aggregate else name


def _condition(condition: Condition, wide: bool) -> str:
    left = _item(Item(condition.column, condition.aggregate), wide)
    op, value = condition.op.upper(), condition.value
    if value is None:
        return f"{left} {op}"
    if isinstance(value, Query):
        return f"{left} {op} ({to_sql(value)})"
    if isinstance(value, tuple):
        return f"{left} BETWEEN {_literal(value[0])} AND {_literal(value[1])}"
    return f"{left} {op} {_literal(value)}"


def _literal(literal: Literal) -> str:
    if isinstance(literal.stored, str):
        return "'" + literal.stored.replace("'", "''") + "'"
    return str(literal.stored)
