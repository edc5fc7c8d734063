"""Follow-up moves to and from groups: breaking down, the largest, HAVING, back to the rows, other tables."""

from __future__ import annotations

from dataclasses import replace

from mtsql_lib.world.filters import label_of
from mtsql_lib.world.openings import grouping, having, items
from mtsql_lib.world.query import Condition
from mtsql_lib.world.refinements import names_only, plain_list
from mtsql_lib.world.scene import COUNT, Scene
from mtsql_lib.world.states import Draft, State, assemble
from mtsql_lib.world.voice import Voice
from mtsql_lib.world.wording import word_filter


def break_down(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The number, or the measure, for each group."""
    measured = state.shape == "measure"
    if not (plain_list(state) or state.select == (COUNT,) or measured) or state.shape == "group":
        return None
    found = grouping(scene, voice, scene.table(state.root))
    if not found or {found[0], found[1].column} & {f.column for f in state.filters}:
        return None
    column, item, start, one, _ = found
    select = (item, *state.select) if measured else (item, COUNT)
    after = State(state.root, "group", select, state.filters, start, column)
    text = voice.say("break_down_measure" if measured else "break_down", group=one)
    return Draft(after, text, "group_aggregate" if measured else "group_count", "theme-entity")


def regroup(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The same by another column."""
    if not _plain_group(state) or scene.table(state.root).bridge:
        return None
    found = grouping(scene, voice, scene.table(state.root))
    if (
        not found
        or found[0] == state.group
        or {found[0], found[1].column} & {f.column for f in state.filters}
    ):
        return None
    column, item, start, one, _ = found
    after = replace(state, select=(item, *state.select[1:]), start=start, group=column)
    return Draft(after, voice.say("regroup", group=one), "group_count", "theme-entity")


def group_most(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The group with the most rows."""
    if not _plain_group(state) or state.select[1:] != (COUNT,):
        return None
    # Parents without any child have no group, so nobody asks for the parent with the fewest.
    highest = bool(state.start) or voice.rng.random() < 0.7
    after = replace(state, select=state.select[:1], order=(COUNT,), descending=highest, limit=1)
    one, many = _group_nouns(scene, voice, state)
    text = voice.say(
        "group_most", group=one, most=f"{'most' if highest else 'fewest'} {_counted(scene, state)}"
    )
    return Draft(after, text, "group_top", "answer-refinement")


def group_having(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Only groups of some size, or another size."""
    if state.shape != "group" or state.limit or (not state.having and state.select[1:] != (COUNT,)):
        return None
    found = having(scene, voice, state)
    if not found or found[0] == state.having:
        return None
    slots = {
        "number": found[1],
        "many": _counted(scene, state),
        "groups": _group_nouns(scene, voice, state)[1],
    }
    intent = "group_number" if state.having else "group_having"
    after = replace(state, having=found[0])
    return Draft(
        after, voice.say(intent, **slots), "change_number" if state.having else "having", "refinement"
    )


def group_sort(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Groups in the order of their size."""
    if not _plain_group(state) or state.select[1:] != (COUNT,):
        return None
    descending = voice.rng.random() < 0.7
    slots = {"many": _counted(scene, state), "groups": _group_nouns(scene, voice, state)[1]}
    text = voice.say("group_sort", first="highest first" if descending else "lowest first", **slots)
    return Draft(replace(state, order=(COUNT,), descending=descending), text, "order", "refinement")


def which_ones(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Back from a number, a measure or groups to the names of the rows."""
    table = scene.table(state.root)
    if not table.label or not (state.shape in ("count", "measure") or _plain_group(state)):
        return None
    after = State(table.name, "list", items([label_of(table)]), state.filters)
    intent = "which_ones" if state.select == (COUNT,) else "back_to_list"
    return Draft(after, voice.say(intent, many=table.many), "list", "answer-refinement")


def members(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The rows of one group of the answer."""
    table = scene.table(state.root)
    if (
        state.shape != "group"
        or not table.label
        or len(state.filters) > 1
        or any(len(f.conditions) > 1 for f in state.filters)
    ):
        return None
    query = assemble(scene, state)
    rows = sorted(row[0] for row in scene.run(query) or [] if row[0] is not None) if query else []
    if not rows:
        return None
    column = state.select[0].column
    if column in {f.column for f in state.filters}:
        return None
    new = word_filter(
        scene, voice, table.name, (Condition(column, "=", scene.literal(column, voice.rng.choice(rows))),)
    )
    after = State(table.name, "list", items([label_of(table)]), (*state.filters, new))
    return Draft(
        after,
        voice.say("members", many=table.many, attr=new.attribute),
        "list",
        "answer-refinement",
        complete=True,
    )


def same_elsewhere(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The same about the rows of another table."""
    if (
        state.filters
        or not (names_only(scene, state) or state.select == (COUNT,))
        or state.order
        or state.shape == "group"
    ):
        return None
    others = [t for t in scene.entities if t.name != state.root and (t.label or state.shape == "count")]
    if not others:
        return None
    other = voice.rng.choice(others)
    select = (COUNT,) if state.shape == "count" else items([label_of(other)])
    text = voice.say("same_elsewhere", many=other.many)
    return Draft(State(other.name, state.shape, select), text, "other_table", "theme-property", complete=True)


def _plain_group(state: State) -> bool:
    return state.shape == "group" and not (state.having or state.limit or state.order)


def _counted(scene: Scene, state: State) -> str:
    """The noun of what is counted: across a bridge table, the rows on its other side."""
    table = scene.table(state.root)
    return scene.table(table.refs[1].to).many if table.bridge else table.many


def _group_nouns(scene: Scene, voice: Voice, state: State) -> tuple[str, str]:
    if state.start:
        table = scene.table(state.start)
        return table.one, table.many
    spec = scene.spec_of(state.group)
    return voice.phrase(spec), voice.phrases(spec)


REGROUPS = {
    break_down: 8,
    regroup: 5,
    group_most: 10,
    group_having: 9,
    group_sort: 6,
    which_ones: 8,
    members: 7,
    same_elsewhere: 8,
}
