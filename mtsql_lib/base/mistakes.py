"""Wrong proposals of the scripted agent: mistakes of the kinds that the paper names, and names that are not
there, which a small model makes up.

Left out: mistakes in the structure of SQL; a model hardly makes them.
"""

from __future__ import annotations

import random
import re
from dataclasses import replace

from mtsql_lib.schema import Schema, fold_name
from mtsql_lib.world.query import Column, Condition, Item, Literal, Query
from mtsql_lib.world.words import invent, vocabulary

_LITERAL = re.compile(r"'[^'%]{3,}'")


def mistyped(query: Query, rng: random.Random) -> Query:
    """The query with every surprising literal as a person typed it, now and then in another case."""

    def guess(literal: Literal) -> Literal:
        if not isinstance(literal.stored, str):
            return literal
        form = rng.choices((str, str.title, str.upper), (0.8, 0.12, 0.08))[0]
        return replace(literal, stored=form(literal.spoken)) if literal.mismatch else literal

    return replace(query, where=tuple(_with_literal(c, guess) for c in query.where))


def _with_literal(condition: Condition, change) -> Condition:
    return (
        replace(condition, value=change(condition.value))
        if isinstance(condition.value, Literal)
        else condition
    )


def corrupted(query: Query, rng: random.Random, later: bool) -> Query:
    """One mistake of the kinds that the paper names: join path, schema linking, a dropped constraint,
    aggregation drift.
    """
    kinds = []
    if query.joins:
        kinds += ["no_join"] * 3 + ["wrong_key"]
    if later and len(query.where) > 0 and not query.compound:
        kinds += ["dropped"] * 2
    if query.group or any(i.aggregate for i in query.select):
        kinds += ["drift"]
    if not kinds:
        return query
    kind = rng.choice(kinds)
    if kind == "no_join":
        return _rehome(query)
    if kind == "wrong_key":
        join = query.joins[-1]
        broken = replace(
            join,
            left=Column(join.left.table, join.right.name),
            right=Column(join.right.table, join.left.name),
        )
        return replace(query, joins=(*query.joins[:-1], broken))
    if kind == "dropped":
        return replace(query, where=query.where[1:] if rng.random() < 0.5 else query.where[:-1])
    return replace(
        query, select=tuple(replace(i, aggregate="") if i.column.name != "*" else i for i in query.select)
    )


def _rehome(query: Query) -> Query:
    """The query over its first table alone, as if it had every column."""

    def here(column: Column) -> Column:
        return Column(query.base, column.name)

    def item(entry: Item) -> Item:
        return replace(entry, column=here(entry.column))

    return replace(
        query,
        joins=(),
        select=tuple(map(item, query.select)),
        order=tuple(map(item, query.order)),
        where=tuple(replace(c, column=here(c.column)) for c in query.where),
        group=tuple(map(here, query.group)),
    )


def misnamed(sql: str, schema: Schema, rng: random.Random) -> str:
    """`sql` with a name or value, now and then two, that is not in the database: invented, the word for
    something else, or a part of the right one. A name is changed wherever it stands.
    """
    names = sorted({fold_name(n) for t in schema.tables for n in (t.name, *(c.name for c in t.columns))})
    for _ in range(rng.choice((1, 1, 2))):
        literals = _LITERAL.findall(sql)
        if literals and rng.random() < 0.25:
            sql = sql.replace(rng.choice(literals), f"'{invent(rng).capitalize()}'")
            continue
        used = [name for name in names if _found(name).search(sql)]
        if used and (wrong := _wrong_name(name := rng.choice(used), rng)) not in names:
            sql = _found(name).sub(wrong, sql)
    return sql


def _found(name: str) -> re.Pattern:
    return re.compile(rf"\b{re.escape(name)}\b")


def _wrong_name(name: str, rng: random.Random) -> str:
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+", name) or [name]
    way = rng.random()
    if way < 0.3:
        parts = [invent(rng)]
    elif way < 0.6:
        parts = rng.choice(vocabulary().concepts).names[0].split()
    elif way < 0.75 and len(parts) > 1:
        parts.pop(rng.randrange(len(parts)))
    elif way < 0.9:
        parts[rng.randrange(len(parts))] = invent(rng)
    else:
        parts.append(invent(rng))
    return "_".join(parts).lower()
