"""Questions that stand on their own: the first of a dialogue, or the first on a new topic."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from mtsql_lib.world.filters import columns_of, draw_filter, label_of
from mtsql_lib.world.query import Column, Condition, Item, Literal, Query
from mtsql_lib.world.scene import COUNT, MEASURED, Scene
from mtsql_lib.world.spec import TableSpec
from mtsql_lib.world.states import Draft, State, group_counts
from mtsql_lib.world.voice import Voice, listed, plural, verb_slots
from mtsql_lib.world.wording import Filter, countable, direction, has_most, is_plural, measure_word, most_of

SAYABLE = ("label", "category", "flag", "number", "year", "date")
_PREPOSITION = re.compile(r"\b(of|in|per|at|on|for|to)\b")
_NUMBERS = {
    ">=": "at least {}",
    ">": "more than {}",
    "<=": "at most {}",
    "<": "fewer than {}",
    "=": "exactly {}",
}


def attributes(filters: tuple[Filter, ...], one: bool = False) -> str:
    """The attributes of several filters behind one noun, which is in the singular if `one`."""
    found = [f.single if one else f.attribute for f in filters]
    # "with a pool and with a bar" is said with one "with".
    later = [now.removeprefix("with ") if old.startswith("with ") else now for old, now in pairwise(found)]
    return listed(found[:1] + later)


def things(table: TableSpec, filters: tuple[Filter, ...], one: bool = False) -> str:
    """A noun with its conditions: "ferries built in 1990 and based in oslo"."""
    return f"{table.one if one else table.many} {attributes(filters, one)}".strip()


def fixed(filters: tuple[Filter, ...]) -> set[Column]:
    """The columns whose value a request already says: nobody asks for them."""
    return {f.column for f in filters if f.op == "=" and len(f.conditions) == 1}


def some_filters(
    scene: Scene, voice: Voice, table: TableSpec, weights: tuple[int, ...]
) -> tuple[Filter, ...]:
    """No, one or two filters, by weight."""
    found: tuple[Filter, ...] = ()
    for _ in range(voice.rng.choices(range(len(weights)), weights)[0]):
        new = draw_filter(scene, voice, table.name, found, alone=not found and sum(weights[2:]) == 0)
        found += (new,) if new and all(len(f.conditions) == 1 for f in found) else ()
    return found


def column_phrase(scene: Scene, voice: Voice, column: Column, root: str, many: bool = False) -> str:
    """A column as asked for of rows of `root`: "age", "port region" where it lives in another table."""
    spec, table = scene.spec_of(column), scene.table(column.table)
    if column.table == root or table.bridge:
        return voice.phrases(spec) if many else countable(voice, spec)
    phrase = spec.phrase if _PREPOSITION.search(voice_phrase := voice.phrase(spec)) else voice_phrase
    if phrase.startswith(f"{table.one} "):
        return plural(phrase) if many else phrase
    if many or not is_plural(phrase):
        return f"{table.one} {plural(phrase) if many else phrase}"
    return f"number of {table.one} {phrase}"


def items(columns: list[Column] | tuple[Column, ...]) -> tuple[Item, ...]:
    """Columns as they stand in SELECT."""
    return tuple(Item(column) for column in columns)


def some_columns(
    scene: Scene, voice: Voice, table: TableSpec, count: int, known: set[Column], far: float = 0.15
) -> list[Column]:
    """Columns of a table to ask for, `known` ones left out, now and then with one of a parent table."""
    own = [c for c in columns_of(table, *SAYABLE) if c not in known]
    parents = [p for _, p in scene.routes.parents(table.name)]
    chosen = voice.rng.sample(own, min(count, len(own)))
    if parents and voice.rng.random() < far:
        other = [c for c in columns_of(voice.rng.choice(parents), *SAYABLE) if c not in known]
        chosen = chosen[:-1] + [voice.rng.choice(other)] if other else chosen
    # The name comes first, the others as drawn.
    return sorted(chosen, key=lambda c: c != label_of(table))


def phrases_of(scene: Scene, voice: Voice, columns: list[Column], root: str, many: bool) -> str:
    """Several columns in words."""
    return listed([column_phrase(scene, voice, column, root, many) for column in columns])


def open_list(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    if not table.label:
        return open_columns(scene, voice, table)
    filters = some_filters(scene, voice, table, (25, 75))
    state = State(table.name, "list", items([label_of(table)]), filters)
    return Draft(state, voice.say("list", things=things(table, filters)), "list")


def open_columns(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    filters = some_filters(scene, voice, table, (25, 75))
    columns = some_columns(scene, voice, table, voice.rng.choices((1, 2, 3), (62, 32, 6))[0], fixed(filters))
    if not columns:
        return None
    text = voice.say(
        "columns", columns=phrases_of(scene, voice, columns, table.name, True), things=things(table, filters)
    )
    return Draft(State(table.name, "list", items(columns), filters), text, "columns")


def open_lookup(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    label = label_of(table)
    name = scene.draw(label, voice.rng) if label else None
    columns = some_columns(scene, voice, table, voice.rng.choices((1, 2), (80, 20))[0], {label}, 0.25)
    if name is None or not columns:
        return None
    filters = (Filter((Condition(label, "=", name),), f"named {name.spoken}"),)
    said = phrases_of(scene, voice, columns, table.name, False)
    text = voice.say("lookup", columns=said, one=table.one, name=name.spoken)
    return Draft(State(table.name, "list", items(columns), filters, lone=True), text, "lookup")


def open_count(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    filters = some_filters(scene, voice, table, (20, 80))
    return Draft(
        State(table.name, "count", (COUNT,), filters),
        voice.say("count", things=things(table, filters)),
        "count",
    )


def open_count_distinct(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    columns = columns_of(table, "category")
    if not columns:
        return None
    column = voice.rng.choice(columns)
    filters = some_filters(scene, voice, table, (50, 50))
    if column in fixed(filters):
        return None
    text = voice.say(
        "count_distinct", columns=voice.phrases(scene.spec_of(column)), things=things(table, filters)
    )
    return Draft(State(table.name, "count", (Item(column, "count", True),), filters), text, "count_distinct")


def open_aggregate(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    measured = measure(scene, voice, table)
    if not measured:
        return None
    filters = some_filters(scene, voice, table, (40, 60))
    if measured[0][0].column in {f.column for f in filters}:
        return None
    text = voice.say("aggregate", measure=measured[1], things=things(table, filters))
    return Draft(State(table.name, "measure", measured[0], filters), text, "aggregate")


def measure(scene: Scene, voice: Voice, table: TableSpec) -> tuple[tuple[Item, ...], str] | None:
    """One aggregate of a number (or two of them), and its words."""
    columns = columns_of(table, *MEASURED)
    if not columns:
        return None
    column = voice.rng.choice(columns)
    spec = scene.spec_of(column)
    if voice.rng.random() < 0.12:
        chosen = ["min", "max"]
    else:
        names = ("avg", "max", "min", "sum") if spec.kind == "number" else ("max", "min")
        chosen = voice.rng.choices(names, (40, 25, 20, 15)[: len(names)])
    words = listed([measure_word(voice, spec, name) for name in chosen])
    return tuple(Item(column, name) for name in chosen), f"{words} {countable(voice, spec)}"


def superlative(scene: Scene, voice: Voice, table: TableSpec) -> tuple[Column, bool] | None:
    """A column to be first in, and whether the highest value wins; "lowest" needs a column without gaps."""
    columns = columns_of(table, *MEASURED)
    if not columns:
        return None
    column = voice.rng.choice(columns)
    return column, bool(scene.spec_of(column).null_share) or voice.rng.random() < 0.6


def open_top(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    found, label = superlative(scene, voice, table), label_of(table)
    if not found:
        return None
    column, highest = found
    spec, filters = scene.spec_of(column), some_filters(scene, voice, table, (65, 35))
    if column in {f.column for f in filters}:
        return None
    count = voice.rng.choices((1, 2, 3, 5), (75, 4, 14, 7))[0]
    noun = table.one if count == 1 else table.many
    the_most = most_of(
        voice, spec, highest, noun, attributes(filters, count == 1), str(count) if count > 1 else ""
    )
    state = State(table.name, "list", (), filters, order=(Item(column),), descending=highest, limit=count)
    if label and voice.rng.random() < 0.7:
        slots = {"things": things(table, filters), "thing": things(table, filters, one=True)}
        text = voice.say(
            "top" if count == 1 else "top_some",
            the_most=the_most,
            has_most=has_most(voice, spec, highest),
            **slots,
        )
        return Draft(replace(state, select=items([label])), text, "superlative")
    columns = some_columns(scene, voice, table, voice.rng.choice((1, 2)), fixed(filters) | {column}, 0.2)
    if not columns:
        return None
    said = phrases_of(scene, voice, columns, table.name, count > 1)
    intent = "top_columns" if count == 1 else "columns_of_top"
    return Draft(
        replace(state, select=items(columns)),
        voice.say(intent, columns=said, the_most=the_most),
        "superlative",
    )


def open_ordered(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    if not table.label:
        return None
    column = voice.rng.choice(columns_of(table, *MEASURED, "label"))
    spec, descending = scene.spec_of(column), voice.rng.random() < 0.5
    filters = some_filters(scene, voice, table, (50, 50))
    ordering = f"sorted {order_words(voice, spec, descending)}"
    state = State(
        table.name, "list", items([label_of(table)]), filters, order=(Item(column),), descending=descending
    )
    return Draft(state, voice.say("ordered", things=things(table, filters), sorted=ordering), "order")


def order_words(voice: Voice, spec, descending: bool) -> str:
    """An order in words: "by age, lowest first"."""
    way = direction(voice, spec, descending)
    return f"by {voice.phrase(spec)}{',' if way.endswith('first') else ''} {way}"


def open_different(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    columns = columns_of(table, "category")
    if not columns:
        return None
    column, filters = voice.rng.choice(columns), some_filters(scene, voice, table, (50, 50))
    if column in fixed(filters):
        return None
    text = voice.say("different", columns=voice.phrases(scene.spec_of(column)), things=things(table, filters))
    return Draft(State(table.name, "list", items([column]), filters, distinct=True), text, "distinct")


def grouping(scene: Scene, voice: Voice, table: TableSpec) -> tuple[Column, Item, str, str, str] | None:
    """What to count rows by: (GROUP BY column, first item, first table of FROM or "", singular, plural)."""
    own = [(table, column) for column in columns_of(table, "category")]
    parents = [parent for _, parent in scene.routes.parents(table.name) if parent.label and parent.key]
    if parents and (not own or voice.rng.random() < 0.45):
        parent = voice.rng.choice(parents)
        column = Column(parent.name, parent.key.name)
        return column, Item(label_of(parent)), parent.name, parent.one, parent.many
    if not own:
        return None
    column = voice.rng.choice(own)[1]
    spec = scene.spec_of(column)
    return column, Item(column), "", voice.phrase(spec), voice.phrases(spec)


def open_group(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    found = grouping(scene, voice, table)
    if not found:
        return None
    column, item, start, one, many = found
    filters = some_filters(scene, voice, table, (65, 35))
    if {column, item.column} & {f.column for f in filters}:
        return None
    start = start if start != table.name else ""
    state = State(table.name, "group", (item, COUNT), filters, start, column)
    said = things(table, filters)
    chance = voice.rng.random()
    if chance < 0.45:
        return Draft(state, voice.say("group_count", things=said, group=one), "group_count")
    if chance < 0.6:
        measured = measure(scene, voice, table)
        if measured and measured[0][0].column in {f.column for f in filters}:
            return None
        text = measured and voice.say("group_aggregate", measure=measured[1], things=said, group=one)
        return (
            Draft(replace(state, select=(item, *measured[0])), text, "group_aggregate") if measured else None
        )
    if chance < 0.8:
        highest = bool(start) or voice.rng.random() < 0.7
        text = voice.say("group_top", group=one, most="most" if highest else "fewest", things=said)
        state = replace(state, select=(item,), order=(COUNT,), descending=highest, limit=1)
        return Draft(state, text, "group_top")
    number = having(scene, voice, state)
    text = number and voice.say("having", groups=many, number=number[1], things=said)
    return Draft(replace(state, select=(item,), having=number[0]), text, "having") if number else None


def having(scene: Scene, voice: Voice, state: State) -> tuple[Condition, str] | None:
    """A condition on the number of rows in a group that some groups meet, and its words."""
    counts = group_counts(scene, state)
    if not counts:
        return None
    # A parent without any child has no group, so "at most" would leave it out: parents get lower bounds only.
    weights = (45, 35, 0, 0, 12) if state.start else (40, 28, 10, 12, 10)
    op = voice.rng.choices(list(_NUMBERS), weights)[0]
    number = voice.rng.choice(counts) + {">": -1, "<": 1}.get(op, 0)
    if number < 2:
        return None
    return Condition(COUNT.column, op, Literal(number, str(number)), "count"), _NUMBERS[op].format(number)


def open_linked(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    """Counting across a bridge table: how many ferries each sailor serves on."""
    found = [(bridge, other) for bridge, other, active in scene.routes.crossings(table.name) if active]
    if not found or not table.label:
        return None
    bridge, other = voice.rng.choice(found)
    key = Column(table.name, table.key.name)
    state = State(bridge.name, "group", (Item(label_of(table)), COUNT), (), table.name, key)
    slots = {"subject": table.one, "subjects": table.many, "objects": other.many}
    slots |= verb_slots(bridge.verb)
    chance = voice.rng.random()
    if chance < 0.4:
        return Draft(state, voice.say("group_linked", **slots), "group_count")
    if chance < 0.7:
        state = replace(state, select=state.select[:1], order=(COUNT,), descending=True, limit=1)
        return Draft(state, voice.say("linked_top", most="most", **slots), "group_top")
    number = having(scene, voice, state)
    text = number and voice.say("linked_having", number=number[1], **slots)
    return (
        Draft(replace(state, select=state.select[:1], having=number[0]), text, "having") if number else None
    )


def open_set(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    """Set operations: what two kinds of rows share, what some never have, two lists in one."""
    columns, chance = columns_of(table, "category"), voice.rng.random()
    if chance < 0.3 or not columns:
        return _together(scene, voice, table)
    column = voice.rng.choice(columns)
    shown = voice.phrases(scene.spec_of(column))
    left = draw_filter(scene, voice, table.name, plain=True)
    right = draw_filter(scene, voice, table.name, (left,) if left else (), plain=True)
    if not left or not right or column in (left.column, right.column):
        return None
    if chance < 0.6:
        inner = Query(items([column]), table.name, where=right.conditions)
        state = State(table.name, "set", items([column]), (left,), compound=("intersect", inner))
        sides = {"left": things(table, (left,)), "right": things(table, (right,))}
        return Draft(state, voice.say("both", columns=shown, **sides), "intersect")
    inner = Query(items([column]), table.name, where=left.conditions)
    state = State(table.name, "set", items([column]), compound=("except", inner))
    return Draft(state, voice.say("except", columns=shown, things=things(table, (left,))), "except")


def _together(scene: Scene, voice: Voice, table: TableSpec) -> Draft | None:
    others = [t for t in scene.entities if t.label and t.name != table.name]
    if not table.label or not others:
        return None
    other = voice.rng.choice(others)
    sides = [
        draw_filter(scene, voice, t.name, plain=True) if voice.rng.random() < 0.5 else None
        for t in (table, other)
    ]
    left, right = (tuple(f for f in [side] if f) for side in sides)
    inner = Query(items([label_of(other)]), other.name, where=tuple(c for f in right for c in f.conditions))
    state = State(table.name, "set", items([label_of(table)]), left, compound=("union", inner))
    text = voice.say("together", left=things(table, left), right=things(other, right))
    return Draft(state, text, "union")


OPENINGS = {
    open_list: 22,
    open_columns: 13,
    open_lookup: 9,
    open_count: 11,
    open_count_distinct: 3,
    open_aggregate: 7,
    open_top: 12,
    open_ordered: 4,
    open_different: 3,
    open_group: 12,
    open_linked: 9,
    open_set: 9,
}
