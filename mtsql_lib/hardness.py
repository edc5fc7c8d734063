"""Hardness: Spider's four classes of gold queries, counted as the official evaluator counts, slips included.

It takes NOT for an aggregate, and every AND or OR of HAVING (docs/evaluator.md, "Hardness"); the classes of
the papers depend on it.
"""

from __future__ import annotations

from mtsql_lib.spider_schema import EvaluatorSchema
from mtsql_lib.spider_sql import OPERATORS, Select, conditions

_LIKE = OPERATORS.index("like")


def hardness(gold: str, schema: EvaluatorSchema) -> str:
    """The class of a gold query: "easy", "medium", "hard" or "extra". Raises SpiderSyntaxError if it does not
    parse.
    """
    tree = schema.tree(gold)
    parts, nested, other = _parts(tree), _nested(tree), _other(tree)
    if parts <= 1 and other == 0 and nested == 0:
        return "easy"
    if nested == 0 and (other <= 2 and parts <= 1 or parts <= 2 and other < 2):
        return "medium"
    if nested == 0 and (other > 2 and parts <= 2 or 2 < parts <= 3 and other <= 2):
        return "hard"
    return "hard" if parts <= 1 and other == 0 and nested <= 1 else "extra"


def _parts(tree: Select) -> int:
    """Clauses, joins, ORs and LIKEs."""
    count = bool(tree.where) + bool(tree.group) + (tree.order is not None) + (tree.limit is not None)
    count += max(len(tree.tables) - 1, 0)
    for chain in filter(None, (tree.on, tree.where, tree.having)):
        count += chain[1::2].count("or") + [condition[1] for condition in conditions(chain)].count(_LIKE)
    return count


def _nested(tree: Select) -> int:
    """Subqueries as operands, and the right side of a set operator; those in FROM do not count."""
    count = int(tree.branch is not None)
    for chain in filter(None, (tree.on, tree.where, tree.having)):
        for condition in conditions(chain):
            count += isinstance(condition[3], Select) + isinstance(condition[4], Select)
    return count


def _other(tree: Select) -> int:
    """How many of these there are more than one of: aggregates, SELECT items, WHERE conditions, GROUP BY
    columns.
    """
    return (_aggregates(tree) > 1) + (len(tree.items) > 1) + (len(tree.where) > 1) + (len(tree.group) > 1)


def _aggregates(tree: Select) -> int:
    count = sum(item[0] > 0 for item in tree.items)
    if tree.where:
        count += sum(condition[0] for condition in conditions(tree.where))
    if tree.group:
        count += sum(unit[0] > 0 for unit in tree.group)
    if tree.having:
        count += sum(type(link) is str or link[0] for link in tree.having)
    if tree.order:
        count += sum(unit is not None and unit[0] > 0 for value in tree.order[1] for unit in value[1:])
    return count
