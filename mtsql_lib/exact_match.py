"""Exact set match: Spider's comparison of two queries clause by clause, without running them.

`official` mode gives the verdicts of the official evaluator (taoyds/test-suite-sql-eval, `evaluation.py`; the
rules in own words: docs/evaluator.md). `strict` mode is a refinement: it can only turn a match into a
mismatch, and it does so where the official comparison looks away: literal values, DISTINCT, the number of
LIMIT, mixed sort directions, what AND and OR bind, join conditions, and text that the grammar passes over.
"""

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

from mtsql_lib.hardness import hardness
from mtsql_lib.spider_schema import EvaluatorSchema, evaluator_schema
from mtsql_lib.spider_sql import AGGREGATES, ARITHMETIC, OPERATORS, Select, SpiderSyntaxError, conditions

__all__ = ["COMPONENTS", "ExactResult", "clauses", "evaluator_schema", "exact_match", "hardness"]

COMPONENTS = (
    "select", "select(no AGG)", "where", "where(no OP)", "group(no Having)",
    "group", "order", "and/or", "IUEN", "keywords",
)  # fmt: skip
_LIKE, _IN = OPERATORS.index("like"), OPERATORS.index("in")


class ExactResult(NamedTuple):
    """The verdict; `components` maps each of the ten names to (1 if perfect else 0, items predicted, items in
    gold).

    `parsed` says whether the prediction is inside Spider's grammar; one that is not is compared as an empty
    query.
    """

    match: bool
    parsed: bool
    components: dict[str, tuple[int, int, int]]


def exact_match(gold: str, predicted: str, schema: EvaluatorSchema, mode: str = "official") -> ExactResult:
    """Compare two queries clause by clause.

    `mode` is "official" or "strict"; the components are the official ones in both. Raises SpiderSyntaxError
    if gold does not parse (the official script stops there). It runs nothing and knows no semantics: `a > 5`
    and `NOT a <= 5` differ.
    """
    if predicted == gold:
        return ExactResult(True, True, _counts(schema.tree(gold)))
    wanted = _form(gold, schema)
    try:
        given, parsed = _form(predicted, schema), True
    except SpiderSyntaxError:
        given, parsed = _NOTHING, False
    components = _compare(given, wanted)
    match = _same(given, wanted, components)
    if mode == "strict":
        match = match and parsed and same_strictly(gold, predicted, schema)
    return ExactResult(match, parsed, components)


def same_strictly(gold: str, predicted: str, schema: EvaluatorSchema) -> bool:
    """What strict mode asks of two queries that match officially."""
    return gold == predicted or schema.canonical(gold) == schema.canonical(predicted)


# The form in which two queries are compared


class _Form:
    """A tree with operands blanked, DISTINCT forgotten and foreign-key twins merged, as the official
    evaluator rebuilds it.
    """

    __slots__ = (
        "items", "units", "tables", "conditions", "lefts", "connectives", "group", "names", "having", "order",
        "set_operator", "branch", "keywords",
    )  # fmt: skip

    def __init__(self, tree: Select, twins: dict[str, str], prefixes: set[str] | None = None) -> None:
        if (
            prefixes is None
        ):  # twins count for the tables of the outermost FROM, also in branches of set operators
            prefixes = {table[:-2] for table in tree.tables if type(table) is str}
        rebuilt = _Rebuilder(twins, prefixes)
        self.items = [(aggregate, rebuilt.value(unit)) for aggregate, unit in tree.items]
        self.units = [item[1] for item in self.items]
        self.tables = [table if type(table) is str else _frozen(table, True) for table in tree.tables]
        where = rebuilt.chain(tree.where)
        self.conditions, self.connectives = conditions(where), set(where[1::2])
        self.lefts = [condition[2] for condition in self.conditions]
        self.group = [rebuilt.column(unit)[1] for unit in tree.group]
        self.names = [name.split(".")[1] if "." in name else name for name in self.group]
        self.having = rebuilt.chain(tree.having)
        self.order = tree.order and (
            tree.order[0],
            list(map(rebuilt.value, tree.order[1])),
            tree.limit is None,
        )
        self.set_operator = tree.set_operator
        self.branch = tree.branch and _Form(tree.branch, twins, prefixes)
        self.keywords = _keywords(tree)


class _Rebuilder:
    def __init__(self, twins: dict[str, str], prefixes: set[str]) -> None:
        self.twins, self.prefixes = twins, prefixes

    def column(self, unit: tuple) -> tuple:
        name = unit[1]
        if name in self.twins and name.partition(".")[0] in self.prefixes:
            name = self.twins[name]
        return unit[0], name, None

    def value(self, unit: tuple) -> tuple:
        return unit[0], self.column(unit[1]), unit[2] and self.column(unit[2])

    def chain(self, chain: list) -> list:
        return [
            (link[0], link[1], self.value(link[2]), _operand(link[3], False), _operand(link[4], False))
            if type(link) is tuple and n % 2 == 0
            else _frozen_link(link, True)
            for n, link in enumerate(chain)
        ]


def _form(text: str, schema: EvaluatorSchema) -> _Form:
    form = schema.forms.get(text)
    if form is None:
        form = schema.forms[text] = _Form(schema.tree(text), schema.twins)
    return form


def _operand(operand, values: bool):
    """A subquery always counts; literals and columns only where `values` are compared."""
    if isinstance(operand, Select):
        return _frozen(operand, values)
    return operand if values else None


def _frozen_link(link, values: bool):
    if type(link) is str:
        return link
    return link[0], link[1], link[2], _operand(link[3], values), _operand(link[4], values)


def _frozen(tree: Select, values: bool) -> tuple:
    """A nested query as a tuple for plain structural equality; DISTINCT counts here, and inside FROM literals
    do too.
    """
    return (
        tree.distinct,
        tuple(tree.items),
        tuple(table if type(table) is str else _frozen(table, True) for table in tree.tables),
        *(
            tuple(_frozen_link(link, values or n % 2 == 1) for n, link in enumerate(c))
            for c in (tree.on, tree.where, tree.having)
        ),
        tuple(tree.group),
        tree.order and (tree.order[0], *tree.order[1]),
        tree.limit is not None,
        tree.set_operator,
        tree.branch and _frozen(tree.branch, values),
    )


def _keywords(tree: Select) -> set[str]:
    found = {name for name in ("where", "group", "having", "limit") if getattr(tree, name)}
    if tree.order:
        found |= {"order", tree.order[0]}
    if tree.branch:
        found.add(tree.set_operator)
    for chain in filter(None, (tree.on, tree.where, tree.having)):
        if "or" in chain[1::2]:
            found.add("or")
        for negated, operator, *_ in conditions(chain):
            if negated:
                found.add("not")
            if operator == _IN or operator == _LIKE:
                found.add(OPERATORS[operator])
    return found


# Comparison


def _counts(tree: Select) -> dict[str, tuple[int, int, int]]:
    """The components of a query beside itself: all perfect, so only the items are counted."""
    items, where, group = len(tree.items), len(conditions(tree.where)), len(tree.group)
    grouped, ordered, joined = bool(group), bool(tree.order), bool(tree.branch)
    counts = items, items, where, where, group, grouped, ordered, 1, joined, len(_keywords(tree))
    return {name: (1, int(n), int(n)) for name, n in zip(COMPONENTS, counts, strict=True)}


def _same(given: _Form, wanted: _Form, components: dict) -> bool:
    if given is wanted:
        return True
    perfect = all(score[0] for score in components.values())
    return perfect and (not wanted.tables or _same_bag(given.tables, wanted.tables))


def _compare(given: _Form, wanted: _Form) -> dict[str, tuple[int, int, int]]:
    if given.connectives == wanted.connectives:
        and_or = (1, 1, 1)
    else:  # the official code hands the two counts over the wrong way round
        and_or = (0, len(wanted.connectives), len(given.connectives))
    return {
        "select": _bag_score(given.items, wanted.items),
        "select(no AGG)": _bag_score(given.units, wanted.units),
        "where": _bag_score(given.conditions, wanted.conditions),
        "where(no OP)": _bag_score(given.lefts, wanted.lefts),
        "group(no Having)": _bag_score(given.names, wanted.names),
        "group": _clause_score(given.group, wanted.group, lambda: _same_groups(given, wanted)),
        "order": _clause_score(given.order, wanted.order, lambda: given.order == wanted.order),
        "and/or": and_or,
        "IUEN": _clause_score(given.branch, wanted.branch, lambda: _same_branches(given, wanted)),
        "keywords": (int(given.keywords == wanted.keywords), len(given.keywords), len(wanted.keywords)),
    }


def _bag_score(given: list, wanted: list) -> tuple[int, int, int]:
    return int(given == wanted or _same_bag(given, wanted)), len(given), len(wanted)


def _same_bag(given: list, wanted: list) -> bool:
    return given == wanted or len(given) == len(wanted) > 1 and Counter(given) == Counter(wanted)


def _clause_score(given: object, wanted: object, same: Callable[[], bool]) -> tuple[int, int, int]:
    """A clause that counts as one item; without it on both sides it is perfect, whatever `same` would say."""
    if not given and not wanted:
        return 1, 0, 0
    there, needed = bool(given), bool(wanted)
    return int(there and needed and same()), int(there), int(needed)


def _same_groups(given: _Form, wanted: _Form) -> bool:
    return given.group == wanted.group and given.having == wanted.having


def _same_branches(given: _Form, wanted: _Form) -> bool:
    if given.set_operator != wanted.set_operator:
        return False
    return _same(given.branch, wanted.branch, _compare(given.branch, wanted.branch))


_NOTHING = _Form(Select(), {})


# The clause form that others read


def clauses(sql: str, schema: EvaluatorSchema) -> dict | None:
    """The clause parse under Spider's names (select, from, where, groupBy, having, orderBy, limit, intersect,
    union, except), or None.

    Lists hold the units of `Select`, spelled with their operators' names; a nested query is such a dict
    again. An absent clause is empty or None; SELECT DISTINCT is the entry "distinct" of select; limit is the
    token as written.
    """
    try:
        return _readable(schema.tree(sql))
    except SpiderSyntaxError:
        return None


def _readable(tree: Select) -> dict:
    order = zip(map(_value_words, tree.order[1]), tree.directions, strict=True) if tree.order else ()
    found = {
        "select": ["distinct"] * tree.distinct + [(AGGREGATES[a], *_value_words(u)) for a, u in tree.items],
        "from": {
            "table_units": [table if type(table) is str else _readable(table) for table in tree.tables],
            "conds": [_link_words(link) for link in tree.on],
        },
        "where": [_link_words(link) for link in tree.where],
        "groupBy": [_column_words(unit) for unit in tree.group],
        "having": [_link_words(link) for link in tree.having],
        "orderBy": list(order),
        "limit": tree.limit,
        "intersect": None,
        "union": None,
        "except": None,
    }
    if tree.branch is not None:
        found[tree.set_operator] = _readable(tree.branch)
    return found


def _column_words(unit: tuple) -> tuple:
    return AGGREGATES[unit[0]], unit[1], "distinct" if unit[2] else ""


def _value_words(unit: tuple) -> tuple:
    return (
        (_column_words(unit[1]),)
        if unit[2] is None
        else (_column_words(unit[1]), ARITHMETIC[unit[0]], _column_words(unit[2]))
    )


def _link_words(link):
    if type(link) is str:
        return link
    operands = [
        _readable(o) if isinstance(o, Select) else _column_words(o) if type(o) is tuple else o
        for o in link[3:]
    ]
    return "not" if link[0] else "", OPERATORS[link[1]], _value_words(link[2]), *operands
