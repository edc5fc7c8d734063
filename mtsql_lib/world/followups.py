"""Questions that ask something else about the same rows: columns, numbers, extremes, orders, one of them."""

from __future__ import annotations

from dataclasses import replace

from mtsql_lib.world.filters import columns_of, label_of
from mtsql_lib.world.openings import (
    SAYABLE,
    column_phrase,
    fixed,
    items,
    measure,
    order_words,
    phrases_of,
    superlative,
)
from mtsql_lib.world.query import Column, Condition, Item
from mtsql_lib.world.refinements import names_only, plain_list
from mtsql_lib.world.scene import COUNT, MEASURED, Scene
from mtsql_lib.world.states import Draft, State, assemble
from mtsql_lib.world.voice import Voice, verb_slots
from mtsql_lib.world.wording import Filter, has_most, measure_word


def their_columns(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Other columns of the same rows, in the place of what was shown."""
    if state.shape not in ("list", "count") or state.distinct or state.select[0].distinct:
        return None
    if state.shape == "count" and not state.filters:
        return None
    found = _fresh_columns(scene, voice, state, voice.rng.choices((1, 2), (65, 35))[0])
    if not found:
        return None
    after = replace(state, shape="list", select=items(found))
    one = state.singular
    said = phrases_of(scene, voice, found, state.root, not one)
    table = scene.table(state.root)
    intent = (
        "their" if not one else "of_that" if table.name in scene.people or voice.rng.random() < 0.3 else "its"
    )
    return Draft(after, voice.say(intent, columns=said, one=table.one), "project", "theme-entity")


def also_columns(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """One more column beside what is shown."""
    if state.shape != "list" or state.distinct or len(state.select) > 2:
        return None
    found = _fresh_columns(scene, voice, state, 1)
    if not found:
        return None
    said = phrases_of(scene, voice, found, state.root, False)
    after = replace(state, select=state.select + items(found))
    return Draft(after, voice.say("also", columns=said), "add_column", "theme-entity")


def _fresh_columns(scene: Scene, voice: Voice, state: State, count: int) -> list[Column]:
    """Columns that are not shown yet: own ones, those of parents, those of a bridge table in between."""
    own = columns_of(scene.table(state.root), *SAYABLE)
    far = [c for _, parent in scene.routes.parents(state.root) for c in columns_of(parent, *SAYABLE)]
    touched = {c.column.table for f in state.filters for c in f.conditions}
    for bridge, other, _ in scene.routes.crossings(state.root):
        if other.name in touched:
            own = own + columns_of(bridge, *SAYABLE)
    if far and voice.rng.random() < 0.3:
        own = far
    free = [c for c in own if c not in state.columns and c not in fixed(state.filters)]
    return voice.rng.sample(free, min(count, len(free)))


def across(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """What the rows are linked to by a bridge table."""
    if not (plain_list(state) or state.lone) or not state.filters or state.order:
        return None
    found = [way for way in scene.routes.crossings(state.root) if way[1].label]
    if not found:
        return None
    bridge, other, active = voice.rng.choice(found)
    if other.name in {f.column.table for f in state.filters}:
        return None
    slots = {"objects": other.many, "subjects": other.many} | verb_slots(bridge.verb)
    name = state.filters[0].conditions[0].value.spoken if state.lone else "they"
    intent = ("one_links" if state.lone else "they_link") if active else "linked_to"
    text = voice.say(intent, name=name, whom=name if state.lone else "them", **slots)
    # From now on "they" are the rows on the other side; the old conditions stay, without words for them.
    filters = tuple(Filter(f.conditions, "") for f in state.filters)
    return Draft(State(other.name, "list", items([label_of(other)]), filters), text, "across", "theme-entity")


def how_many(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The number of the rows."""
    if not (plain_list(state) or state.shape == "measure"):
        return None
    after = State(state.root, "count", (COUNT,), state.filters)
    return Draft(after, voice.say("how_many", many=scene.table(state.root).many), "count", "theme-entity")


def how_many_different(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The number of different categories among the rows."""
    columns = [
        c
        for c in columns_of(scene.table(state.root), "category")
        if c not in {f.column for f in state.filters}
    ]
    if not (plain_list(state) or state.select == (COUNT,)) or not columns or state.shape == "group":
        return None
    column = voice.rng.choice(columns)
    after = State(state.root, "count", (Item(column, "count", True),), state.filters)
    text = voice.say("how_many_different", columns=voice.phrases(scene.spec_of(column)))
    return Draft(after, text, "count_distinct", "theme-entity")


def their_measure(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """An average, an extreme or a total of the rows."""
    measured = measure(scene, voice, scene.table(state.root))
    if not (plain_list(state) or state.shape in ("count", "measure")) or not measured:
        return None
    if measured[0][0].column in {f.column for f in state.filters}:
        return None
    after = State(state.root, "measure", measured[0], state.filters)
    return Draft(after, voice.say("their_measure", measure=measured[1]), "aggregate", "theme-entity")


def other_measure(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Another aggregate of the same column, in its place or beside it."""
    if state.shape != "measure" or len(state.select) != 1:
        return None
    item = state.select[0]
    spec = scene.spec_of(item.column)
    names = ("avg", "max", "min", "sum") if spec.kind == "number" else ("max", "min")
    name = voice.rng.choice([name for name in names if name != item.aggregate])
    beside = voice.rng.random() < 0.35
    fresh = (*state.select, Item(item.column, name)) if beside else (Item(item.column, name),)
    text = voice.say("also_measure" if beside else "other_measure", word=measure_word(voice, spec, name))
    return Draft(replace(state, select=fresh), text, "aggregate", "theme-entity")


def which_most(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The first of the rows by some number."""
    table = scene.table(state.root)
    found = superlative(scene, voice, table)
    if (
        not (plain_list(state) or state.select == (COUNT,))
        or state.shape == "group"
        or not found
        or not table.label
    ):
        return None
    column, highest = found
    if column in {f.column for f in state.filters}:
        return None
    after = State(
        table.name,
        "list",
        items([label_of(table)]),
        state.filters,
        order=(Item(column),),
        descending=highest,
        limit=1,
    )
    text = voice.say("which_most", has_most=has_most(voice, scene.spec_of(column), highest))
    return Draft(after, text, "superlative", "answer-refinement")


def reverse_most(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The other end of the order, or more rows of it."""
    if not state.singular or not state.order or state.order == (COUNT,):
        return None
    spec = scene.spec_of(state.order[0].column)
    if voice.rng.random() < 0.35:
        number = voice.rng.choice((2, 3, 5))
        return Draft(
            replace(state, limit=number), voice.say("more_rows", n=str(number)), "change_number", "refinement"
        )
    if (state.descending and spec.null_share) or not names_only(scene, state):
        return None
    after = replace(state, descending=not state.descending)
    text = voice.say("reverse_most", has_most=has_most(voice, spec, after.descending))
    return Draft(after, text, "superlative", "refinement")


def sort(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """An order for the list."""
    if not plain_list(state) or state.order:
        return None
    column = voice.rng.choice(columns_of(scene.table(state.root), *MEASURED, "label") or [None])
    if column is None or column in fixed(state.filters):
        return None
    descending = voice.rng.random() < 0.5
    text = voice.say("sort", by=order_words(voice, scene.spec_of(column), descending))
    return Draft(replace(state, order=(Item(column),), descending=descending), text, "order", "refinement")


def only_different(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Repeats left out."""
    if not plain_list(state) or len(state.select) != 1 or state.order:
        return None
    if scene.spec_of(state.columns[0]).kind != "category":
        return None
    return Draft(replace(state, distinct=True), voice.say("only_different"), "distinct", "refinement")


def one_of_them(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Something about one row of the answer, called by its name."""
    label = label_of(scene.table(state.root))
    if not plain_list(state) or label is None or state.columns[0] != label:
        return None
    query = assemble(scene, state)
    rows = sorted(row[0] for row in scene.run(query) or () if row[0] is not None) if query else []
    columns = [c for c in columns_of(scene.table(state.root), *SAYABLE) if c not in state.columns]
    if len(rows) < 2 or not columns:
        return None
    column, name = voice.rng.choice(columns), scene.literal(label, voice.rng.choice(rows))
    only = Filter((Condition(label, "=", name),), f"named {name.spoken}")
    text = voice.say("one_of_them", columns=column_phrase(scene, voice, column, state.root), name=name.spoken)
    return Draft(
        State(state.root, "list", items([column]), (only,), lone=True), text, "lookup", "answer-refinement"
    )


FOLLOWUPS = {
    their_columns: 14,
    also_columns: 7,
    across: 9,
    how_many: 6,
    how_many_different: 2,
    their_measure: 6,
    other_measure: 5,
    which_most: 9,
    reverse_most: 7,
    sort: 5,
    only_different: 4,
    one_of_them: 4,
}
