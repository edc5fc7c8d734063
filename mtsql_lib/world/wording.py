"""Conditions, superlatives, orders and measures in words.

A condition is worded as an attribute, which follows a noun ("built after 1990"), and as a clause, which
follows "which of them" ("were built after 1990"). Both say operator and value; they never say how the value
is stored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mtsql_lib.world.query import Column, Condition, Literal, Query
from mtsql_lib.world.scene import Scene
from mtsql_lib.world.spec import ColumnSpec, TableSpec
from mtsql_lib.world.voice import Voice, an, finite_plural, head_position

_DATED = re.compile(r"(.*\S) (in|on) \{\}")
_BEFORE_THING = re.compile(r"\b(the|an?) \{\}")
_RELATIVE = ("who ", "that ", "which ")
_STATIVE = {"costing": "cost", "weighing": "weigh", "lasting": "last", "covering": "cover", "earning": "earn"}
_STATIVE |= {
    "holding": "hold",
    "owning": "own",
    "belonging": "belong",
    "containing": "contain",
    "having": "have",
}
_AGGREGATES = {"avg": "average", "max": "highest", "min": "lowest", "sum": "total"}
_DEV_AGGREGATES = {"avg": "mean", "max": "maximum", "min": "minimum", "sum": "total"}


@dataclass(frozen=True)
class Filter:
    """What a person adds to a noun, and the WHERE conditions it stands for (several are joined by OR).

    `single` is the attribute of a noun in the singular. All three are empty where the words have been lost.
    """

    conditions: tuple[Condition, ...]
    attribute: str
    clause: str = ""
    single: str = ""

    @property
    def column(self) -> Column:
        """The column it is about."""
        return self.conditions[0].column

    @property
    def op(self) -> str:
        """The operator of its first condition."""
        return self.conditions[0].op


def word_filter(scene: Scene, voice: Voice, root: str, conditions: tuple[Condition, ...]) -> Filter:
    """Conditions on `root` or on a table that it has a route to, in words."""
    attribute, clause, single = _reached(scene, voice, root, conditions)
    return Filter(conditions, attribute, clause or clause_of(attribute), single or in_singular(attribute))


def in_singular(attribute: str) -> str:
    """An attribute behind a noun in the singular: "that is open" for "that are open"."""
    first, _, rest = attribute.partition(" ")
    verb, _, end = rest.partition(" ")
    known = {"are": "is", "were": "was", "have": "has"}
    return f"{first} {known[verb]} {end}" if attribute.startswith(_RELATIVE) and verb in known else attribute


def clause_of(attribute: str) -> str:
    """The predicate that goes with an attribute: "were built in 1990", "have a pool"."""
    first, _, rest = attribute.partition(" ")
    if first == "with":
        return f"have {rest}"
    if first in ("whose", "where"):
        phrase, _, said = rest.removeprefix("the ").partition(" is ")
        return f"have {phrase} {said}"
    if attribute.startswith(_RELATIVE):
        return rest
    if first in _STATIVE:
        return f"{_STATIVE[first]} {rest}"
    return f"{'were' if _past(first) and any(c.isdigit() for c in rest) else 'are'} {attribute}"


def _past(word: str) -> bool:
    return (
        word.endswith("ed")
        and word != "aged"
        or word in ("born", "built", "made", "bought", "sold", "won", "paid")
    )


def _reached(
    scene: Scene, voice: Voice, root: str, conditions: tuple[Condition, ...]
) -> tuple[str, str, str]:
    """Attribute, clause and attribute in the singular; the last two are empty where rules make them."""
    condition = conditions[0]
    owner = condition.column.table
    if isinstance(condition.value, Query):
        return _nested(scene, voice, root, condition)
    if owner == root:
        return own_attribute(voice, scene.spec_of(condition.column), conditions), "", ""
    route = scene.routes.route(root, owner) or ()
    crossed = scene.table(route[0].table)
    if crossed.bridge:
        return _crossed(
            crossed, route[0].right.table == root and crossed.refs[0].to == root, _spoken(conditions)
        )
    last = route[-1]
    attribute = _at_parent(voice, scene.spec_of(last.left), scene.table(owner), conditions)
    for join in reversed(route[:-1]):
        attribute = _through(scene.spec_of(join.left), scene.table(join.table), attribute)
    return attribute, "", ""


def _at_parent(voice: Voice, ref: ColumnSpec, table: TableSpec, conditions: tuple[Condition, ...]) -> str:
    column, op = table.column(conditions[0].column.name), conditions[0].op
    if column is not table.label or op not in ("=", "!="):
        return _through(ref, table, own_attribute(voice, column, conditions))
    said = _spoken(conditions)
    if op == "!=":
        return f"with {an(table.one)} other than {said}"
    return ref.verb.format(said) if ref.verb else f"of the {table.one} {said}"


def _through(ref: ColumnSpec, table: TableSpec, attribute: str) -> str:
    thing = f"{an(table.one)} {in_singular(attribute)}"
    return _BEFORE_THING.sub("{}", ref.verb).format(thing) if ref.verb else f"of {thing}"


def _crossed(bridge: TableSpec, active: bool, said: str) -> tuple[str, str, str]:
    if active:
        verb = finite_plural(bridge.verb)
        return f"that {verb} {said}", f"{verb} {said}", f"that {bridge.verb} {said}"
    return f"that {said} {bridge.verb}", f"are the ones that {said} {bridge.verb}", ""


def _nested(scene: Scene, voice: Voice, root: str, condition: Condition) -> tuple[str, str, str]:
    column, inner = scene.spec_of(condition.column), condition.value
    if condition.op in ("in", "not in"):
        return _with_children(scene, voice, root, condition)
    if inner.select[0].aggregate == "avg":
        compare, side = (column.more, "above") if condition.op == ">" else (column.less, "below")
        return (
            (f"{compare} average" if compare else f"with {article(voice, column)} {side} the average"),
            "",
            "",
        )
    name = inner.where[0].value.spoken
    if condition.op == "=":
        return f"with the same {voice.phrase(column)} as {name}", "", ""
    compare = column.more if condition.op == ">" else column.less
    if compare:
        return f"{compare} {name}", "", ""
    word = {"number": ("higher", "lower")}.get(column.kind, ("later", "earlier"))[condition.op == "<"]
    return f"with a {word} {voice.phrase(column)} than {name}", "", ""


def _with_children(scene: Scene, voice: Voice, root: str, condition: Condition) -> tuple[str, str, str]:
    inner = condition.value
    child = scene.table(inner.base)
    if child.bridge:
        other = scene.table(next(ref.to for ref in child.refs[:2] if ref.to != root))
        if child.refs[0].to == root:
            verb = finite_plural(child.verb)
            return (
                f"that {verb} no {other.one}",
                f"{verb} no {other.one}",
                f"that {child.verb} no {other.one}",
            )
        return f"that no {other.one} {child.verb}", f"are the ones that no {other.one} {child.verb}", ""
    if condition.op == "not in":
        return f"with no {child.many}", "", ""
    return (
        f"with at least one {child.one} {word_filter(scene, voice, child.name, inner.where).single}",
        "",
        "",
    )


def own_attribute(voice: Voice, column: ColumnSpec, conditions: tuple[Condition, ...]) -> str:
    """The attribute for conditions on a column of the noun's own table."""
    op, said = conditions[0].op, _spoken(conditions)
    if op == "like":
        pattern = conditions[0].value.stored
        word = "containing" if pattern.startswith("%") else "starting with"
        return f"with {an(column.phrase)} {word} {said}"
    if column.kind == "label":
        said_of = "named" if column.phrase == "name" else f"with the {voice.phrase(column)}"
        return f"{said_of} {said}" if op == "=" else f"not named {said}"
    if column.kind in ("category", "flag"):
        return _category(voice, column, op, said)
    return (
        _dated(voice, column, op, said)
        if column.kind in ("year", "date")
        else _number(voice, column, op, said)
    )


def _category(voice: Voice, column: ColumnSpec, op: str, said: str) -> str:
    if column.kind == "flag" and said.lower() in ("yes", "no"):
        return f"{'with' if (said.lower() == 'yes') == (op == '=') else 'without'} {an(column.phrase)}"
    if column.kind == "flag":
        return f"that are {said}" if op == "=" else f"that are not {said}"
    loose = column.verb and not column.verb.startswith((*_RELATIVE, "with "))
    if column.verb and (op == "=" or loose) and voice.brief():
        return column.verb.format(said) if op == "=" else f"not {column.verb.format(said)}"
    if op == "!=":
        return f"with {article(voice, column)} other than {said}"
    form = voice.choose(["with {} {}", "with {} {}", "whose {} is {}"], ["where the {} is {}"])
    return form.format(voice.phrase(column), said)


def _dated(voice: Voice, column: ColumnSpec, op: str, said: str) -> str:
    words = {"=": "{1} {0}", ">": "after {0}", "<": "before {0}", "between": "between {0}"}
    words |= {">=": "{1} {0} or later", "<=": "{1} {0} or earlier", "!=": "not {1} {0}"}
    found = _DATED.fullmatch(column.verb)
    if found and voice.brief():
        return f"{found[1]} {words[op].format(said, found[2])}"
    phrase = article(voice, column)
    words |= {"=": "{0}", ">=": "of {0} or later", "<=": "of {0} or earlier", "!=": "other than {0}"}
    phrase = voice.phrase(column) if op == "=" else phrase
    return f"with {phrase} {words[op].format(said)}"


def _number(voice: Voice, column: ColumnSpec, op: str, said: str) -> str:
    if op in "<>" and (column.more if op == ">" else column.less) and voice.brief():
        return f"{column.more if op == '>' else column.less} {said}"
    words = {"=": "{}", ">": "more than {}", "<": "less than {}", ">=": "at least {}", "<=": "at most {}"}
    words |= {"between": "between {}", "!=": "other than {}"}
    amount = words[op].format(said)
    phrase = voice.phrase(column)
    if column.verb and op != "!=" and voice.brief():
        return column.verb.format(amount)
    if is_plural(phrase):
        return f"with {'exactly ' if op == '=' else ''}{amount} {phrase}"
    words |= {
        ">": voice.choose(["above {}", "over {}"], ["higher than {}"]),
        "<": voice.choose(["below {}", "under {}"], ["lower than {}"]),
    }
    words |= {"=": "of {}", ">=": "of at least {}", "<=": "of at most {}"}
    return f"with {an(phrase)} {words[op].format(said)}"


def _spoken(conditions: tuple[Condition, ...]) -> str:
    value = conditions[0].value
    if isinstance(value, tuple):
        return f"{value[0].spoken} and {value[1].spoken}"
    return " or ".join(c.value.spoken for c in conditions if isinstance(c.value, Literal))


def article(voice: Voice, column: ColumnSpec) -> str:
    """A column's phrase with "a" or "an" unless it is a plural."""
    phrase = voice.phrase(column)
    return phrase if is_plural(phrase) else an(phrase)


def is_plural(phrase: str) -> bool:
    """True for "seats" and "places available", False for "number of seats"."""
    words = phrase.split()
    head = words[head_position(words)]
    return head.endswith("s") and not head.endswith(("ss", "us", "is"))


def countable(voice: Voice, column: ColumnSpec) -> str:
    """A column's phrase as one number: "number of seats" for "seats"."""
    phrase = voice.phrase(column)
    return f"number of {phrase}" if column.kind == "number" and is_plural(phrase) else phrase


def has_most(voice: Voice, column: ColumnSpec, highest: bool) -> str:
    """What sets the first in an order apart: "is the oldest", "has the most seats"."""
    word = column.most if highest else column.least
    return f"is the {word}" if word and voice.brief() else f"has the {_extreme(voice, column, highest)}"


def most_of(
    voice: Voice, column: ColumnSpec, highest: bool, noun: str, attribute: str, count: str = ""
) -> str:
    """The first in an order as a noun: "the oldest ferry", "the 3 ferries with the highest price"."""
    word = column.most if highest else column.least
    number = f"{count} " if count else ""
    if word and voice.brief():
        return f"the {number}{word} {noun} {attribute}".strip()
    joint = " and" if attribute.startswith("with ") else ""
    return f"the {number}{noun} {attribute}{joint} with the {_extreme(voice, column, highest)}".replace(
        "  ", " "
    ).replace("and with", "and")


def _extreme(voice: Voice, column: ColumnSpec, highest: bool) -> str:
    phrase = voice.phrase(column)
    if column.kind in ("year", "date"):
        return f"{'latest' if highest else 'earliest'} {phrase}"
    if is_plural(phrase):
        return f"{'most' if highest else 'fewest'} {phrase}"
    pair = voice.choose([("highest", "lowest")], [("largest", "smallest")])
    return f"{pair[not highest]} {phrase}"


def direction(voice: Voice, column: ColumnSpec | None, descending: bool) -> str:
    """How an order runs: "highest first", "in descending order", "from z to a"."""
    if column is not None and column.kind in ("label", "category"):
        return (
            voice.choose(["from z to a"], ["in reverse alphabetical order"])
            if descending
            else voice.choose(["from a to z", "alphabetically"], ["in alphabetical order"])
        )
    if column is not None and column.kind in ("year", "date"):
        pair = voice.choose(
            [("latest first", "earliest first")], [("starting with the latest", "starting with the earliest")]
        )
    else:
        pair = voice.choose(
            [("highest first", "lowest first"), ("in descending order", "in ascending order")],
            [("from high to low", "from low to high")],
        )
    return pair[not descending]


def measure_word(voice: Voice, column: ColumnSpec, aggregate: str) -> str:
    """The word for an aggregate: "average", "earliest"."""
    if column.kind in ("year", "date") and aggregate in ("max", "min"):
        return "latest" if aggregate == "max" else "earliest"
    return voice.choose([_AGGREGATES[aggregate]], [_DEV_AGGREGATES[aggregate]])
