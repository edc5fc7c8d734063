"""Questions that put other conditions on the same rows: one more, another value, the opposite, one less.

Each move takes the scene, the voice and the state, and returns a draft or None where it does not apply.
Relations are SParC's: refinement (same rows, other constraint), theme-entity (another property of the same
rows), theme-property (the same property of other rows), answer-refinement (a part of the previous answer).
"""

from __future__ import annotations

from dataclasses import replace

from mtsql_lib.world.filters import draw_filter, label_of, with_unit
from mtsql_lib.world.openings import column_phrase, phrases_of, things
from mtsql_lib.world.query import Literal, Query
from mtsql_lib.world.scene import COUNT, MEASURED, Scene
from mtsql_lib.world.states import Draft, State
from mtsql_lib.world.voice import Voice
from mtsql_lib.world.wording import Filter, word_filter

_RESTATED = {"steps": 0.25, "talk": 0.08}


def plain_list(state: State) -> bool:
    """A list of rows that is not cut off."""
    return state.shape == "list" and not (state.limit or state.distinct or state.lone)


def names_only(scene: Scene, state: State) -> bool:
    """True if a state lists the names of its rows."""
    return state.shape == "list" and state.columns == (label_of(scene.table(state.root)),)


def restated(scene: Scene, voice: Voice, state: State) -> str:
    """A state as a complete question, now and then; "" where it stays elliptic."""
    if voice.rng.random() > _RESTATED[voice.style] or state.order or state.distinct or state.lone:
        return ""
    if not all(f.attribute for f in state.filters):
        return ""
    table = scene.table(state.root)
    said = things(table, state.filters)
    if state.shape == "count" and state.select == (COUNT,):
        return voice.say("count", things=said)
    if names_only(scene, state):
        return voice.say("list", things=said)
    if state.shape == "list":
        return voice.say(
            "columns", columns=phrases_of(scene, voice, list(state.columns), table.name, True), things=said
        )
    return ""


def keep(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """One more condition."""
    if state.lone or state.shape == "set" or len(state.filters) > 2 or scene.table(state.root).bridge:
        return None
    new = draw_filter(scene, voice, state.root, state.filters)
    if new is None or _pointless(state, new):
        return None
    table, after = scene.table(state.root), replace(state, filters=(*state.filters, new))
    slots = {"attr": new.attribute, "clause": new.clause, "many": table.many}
    whole = restated(scene, voice, after)
    if whole:
        return Draft(after, whole, "add_filter", "refinement", complete=True)
    if state.shape == "group":
        if state.limit or state.having or COUNT not in state.select:
            return None
        return Draft(after, voice.say("keep_group", **slots), "add_filter", "refinement")
    if state.limit:
        return Draft(after, voice.say("keep_top", **slots), "add_filter", "refinement")
    if state.select == (COUNT,):
        return Draft(after, voice.say("count_which", **slots), "add_filter", "answer-refinement")
    if names_only(scene, state) and voice.rng.random() < 0.75:
        return Draft(after, voice.say("keep_which", **slots), "add_filter", "answer-refinement")
    return Draft(after, voice.say("keep_attr", **slots), "add_filter", "refinement")


def _pointless(state: State, new: Filter) -> bool:
    """A condition on what rows are grouped or ranked by, or one that fixes what is shown."""
    ranked = {item.column for item in state.order} if state.limit else set()
    return new.column in ranked | {state.group} or (new.op == "=" and new.column in state.columns)


def count_which(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """How many of the listed rows meet one more condition."""
    if not plain_list(state) or len(state.filters) > 2:
        return None
    new = draw_filter(scene, voice, state.root, state.filters)
    if new is None:
        return None
    after = State(state.root, "count", (COUNT,), (*state.filters, new))
    return Draft(after, voice.say("count_which", clause=new.clause), "count", "answer-refinement")


def swap(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """Another value in the place of one ("what about oslo?"), or a correction of it."""
    spots = [
        n
        for n, f in enumerate(state.filters)
        if f.attribute and len(f.conditions) == 1 and _swappable(f.op, f)
    ]
    if not spots or state.shape == "set":
        return None
    spot = voice.rng.choice(spots)
    old = state.filters[spot].conditions[0]
    spec = scene.spec_of(old.column)
    fresh = (
        scene.threshold(old.column, voice.rng)
        if old.op in ("<", ">", "<=", ">=")
        else scene.draw(old.column, voice.rng)
    )
    if fresh is None or fresh.stored == old.value.stored:
        return None
    fresh = with_unit(voice, spec, fresh)
    new = word_filter(scene, voice, state.root, (replace(old, value=fresh),))
    after = replace(state, filters=(*state.filters[:spot], new, *state.filters[spot + 1 :]))
    numeric = spec.kind in MEASURED
    move, relation = ("change_number", "refinement") if numeric else ("replace_value", "theme-property")
    whole = restated(scene, voice, after)
    if whole:
        return Draft(after, whole, move, relation, complete=True)
    alike = [n for n in spots if (scene.spec_of(state.filters[n].column).kind in MEASURED) == numeric]
    slots = {
        "value": fresh.spoken,
        "old": old.value.spoken,
        "attr": new.attribute,
        "many": scene.table(state.root).many,
    }
    if spec.kind == "flag" or len(alike) > 1 or (not state.lone and voice.rng.random() < 0.25):
        return Draft(after, voice.say("swap_attr", **slots), move, relation)
    if state.filters[spot] in state.news and voice.rng.random() < (0.5 if voice.style == "talk" else 0.06):
        return Draft(after, voice.say("correct_value", **slots), "correction", "refinement", place="")
    return Draft(after, voice.say("swap_value", **slots), move, relation)


def _swappable(op: str, old: Filter) -> bool:
    return isinstance(old.conditions[0].value, Literal) and op in ("=", "<", ">", "<=", ">=")


def negate(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """The rows that a condition left out."""
    if len(state.filters) != 1 or len(state.filters[0].conditions) != 1 or state.shape in ("set", "group"):
        return None
    if state.lone or not state.filters[0].attribute:
        return None
    condition = state.filters[0].conditions[0]
    spec = scene.spec_of(condition.column)
    if (
        not isinstance(condition.value, Literal)
        or condition.op != "="
        or spec.kind not in ("category", "flag")
    ):
        return None
    route = scene.routes.route(state.root, condition.column.table)
    if not route and condition.column.table != state.root:
        return None
    new = word_filter(scene, voice, state.root, (replace(condition, op="!="),))
    after = replace(state, filters=(new,))
    return Draft(after, voice.say("negate", attr=new.attribute), "negate", "refinement")


def drop(scene: Scene, voice: Voice, state: State) -> Draft | None:
    """A condition, or all of them, no longer holds."""
    if not state.filters or state.shape == "set" or state.lone:
        return None
    table = scene.table(state.root)
    if len(state.filters) == 1 or voice.rng.random() < 0.3:
        after = replace(state, filters=())
        return Draft(
            after, voice.say("drop_all", many=table.many), "drop_condition", "refinement", complete=True
        )
    spot = voice.rng.randrange(len(state.filters))
    column = state.filters[spot].column
    if scene.spec_of(column).kind in ("key", "flag") or isinstance(
        state.filters[spot].conditions[0].value, Query
    ):
        return None
    owner = scene.table(column.table)
    said = (
        owner.one
        if column == label_of(owner) and owner is not table
        else column_phrase(scene, voice, column, table.name)
    )
    after = replace(state, filters=state.filters[:spot] + state.filters[spot + 1 :])
    return Draft(after, voice.say("drop_one", column=said), "drop_condition", "refinement")


REFINEMENTS = {keep: 21, count_which: 5, swap: 24, negate: 3, drop: 4}
