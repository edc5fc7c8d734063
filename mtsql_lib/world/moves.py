"""Dialogues of the generated world: a state, a chain of moves, and for every turn its words and its gold SQL.

A draft counts only if SQLite runs its query, the result is not empty (a few empty ones are let through and
marked) and does not hang on a tie at its LIMIT. So the words determine the query and the query has one
answer.
"""

from __future__ import annotations

import random
import sqlite3
from dataclasses import dataclass, replace

from mtsql_lib.world.followups import FOLLOWUPS
from mtsql_lib.world.openings import OPENINGS
from mtsql_lib.world.query import Condition, Literal, Query
from mtsql_lib.world.refinements import REFINEMENTS
from mtsql_lib.world.regroups import REGROUPS
from mtsql_lib.world.scene import Scene
from mtsql_lib.world.spec import DatabaseSpec
from mtsql_lib.world.states import Draft, State, assemble
from mtsql_lib.world.voice import Voice

_LENGTHS = {2: 24, 3: 37, 4: 26, 5: 9, 6: 4}
_TOPIC_SHARE = 0.1
_VACUOUS_SHARE = 0.04
_TRIES = 30
_RESTARTS = 20
_MOVES = REFINEMENTS | FOLLOWUPS | REGROUPS


@dataclass(frozen=True)
class DraftTurn:
    """One turn: what is said, its query, SParC's relation to the turn before, the move, the causes."""

    utterance: str
    query: Query
    relation: str
    move: str
    causes: tuple[str, ...]


def draft_dialogue(
    spec: DatabaseSpec, connection: sqlite3.Connection, rng: random.Random, style: str, split: str
) -> list[DraftTurn]:
    """A dialogue of 2 to 6 turns; style is "steps" (goal-driven) or "talk", split is "train" or "dev".

    For many dialogues on one database make one `Scene` and call `draft_on`, which reads the tables once.
    """
    return draft_on(Scene(spec, connection), rng, style, split)


def draft_on(scene: Scene, rng: random.Random, style: str, split: str) -> list[DraftTurn]:
    """`draft_dialogue` on a scene that is already there; shorter or empty if the database gives no more."""
    voice = Voice(rng, style, split)
    length = rng.choices(list(_LENGTHS), list(_LENGTHS.values()))[0]
    turns: list[DraftTurn] = []
    state, seen, restarts = None, set(), 0
    while len(turns) < length:
        found = _next_turn(scene, voice, state, seen)
        if found is None:
            restarts += 1
            if len(turns) > 1 or restarts > _RESTARTS:
                break
            turns, state, seen = [], None, set()
            continue
        draft, fresh, empty = found
        before = turns[-1].query if turns else None
        turns.append(_turn(scene, voice, draft, state, before, fresh, empty))
        old = state.filters if state else ()
        news = tuple(f for f in draft.state.filters if f not in old)
        state = replace(draft.state, news=news)
        seen.add(fresh)
    return turns


def _next_turn(
    scene: Scene, voice: Voice, state: State | None, seen: set[Query]
) -> tuple[Draft, Query, bool] | None:
    topic = state is None or state.shape == "set" or voice.rng.random() < _TOPIC_SHARE
    for tries in range(_TRIES):
        draft = _open(scene, voice, state) if topic or tries > _TRIES * 0.8 else _go_on(scene, voice, state)
        fresh = draft and assemble(scene, draft.state)
        if not fresh or fresh in seen:
            continue
        rows = scene.run(fresh)
        if rows is None or _tied(scene, fresh) or (fresh.limit and any(None in row for row in rows)):
            continue
        if fresh.order and not fresh.limit and len(rows) == 1:
            continue
        empty = all(cell is None for row in rows for cell in row) or rows == [(0,)]
        if not empty or voice.rng.random() < _VACUOUS_SHARE:
            return draft, fresh, empty
    return None


def _open(scene: Scene, voice: Voice, state: State | None) -> Draft | None:
    table = voice.rng.choice(scene.entities) if state is None else _neighbour(scene, voice, state.root)
    opening = voice.rng.choices(list(OPENINGS), list(OPENINGS.values()))[0]
    draft = opening(scene, voice, table)
    place, relation = ("first", "") if state is None else ("topic", "theme-entity")
    return draft and replace(draft, place=place, relation=relation, complete=True)


def _go_on(scene: Scene, voice: Voice, state: State) -> Draft | None:
    return voice.rng.choices(list(_MOVES), list(_MOVES.values()))[0](scene, voice, state)


def _neighbour(scene: Scene, voice: Voice, root: str):
    tables = [t for t in scene.entities if t.name != root and scene.routes.route(root, t.name)]
    own = [t for t in scene.entities if t.name == root]
    return voice.rng.choice(tables + own or scene.entities)


def _tied(scene: Scene, query: Query) -> bool:
    """True if the last row inside LIMIT and the first one outside have the same rank."""
    if not query.limit:
        return False
    ranks = scene.run(replace(query, select=query.order, limit=query.limit + 1)) or []
    return len(ranks) > query.limit and ranks[-1] == ranks[-2]


def _turn(
    scene: Scene,
    voice: Voice,
    draft: Draft,
    state: State | None,
    before: Query | None,
    query: Query,
    empty: bool,
) -> DraftTurn:
    causes = list(query_causes(scene, query))
    if state is not None and before is not None:
        if not draft.complete or (set(state.filters) & set(draft.state.filters) and draft.place != "topic"):
            causes.append("carried_constraint")
        if draft.place != "topic" and _grouped(before) - _grouped(query):
            causes.append("aggregation_drift")
    causes += ["vacuous"] if empty else []
    text = voice.dress(draft.text, draft.place) if draft.place else draft.text
    return DraftTurn(text, query, draft.relation, draft.move, tuple(causes))


def query_causes(scene: Scene, query: Query) -> list[str]:
    """The causes of failure that lie in a query alone: its literals, its names, its tables."""
    conditions, columns, tables = _parts(query)
    found = []
    if any(isinstance(c.value, Literal) and c.value.mismatch and c.op != "like" for c in conditions):
        found.append("value_mismatch")
    if len(tables) > 1:
        found.append("other_table")
    if any(column.name.lower() in scene.shared_names for column in columns):
        found.append("ambiguous_name")
    return found + (["join_path"] if len(query.joins) > 1 else [])


def _parts(query: Query) -> tuple[list[Condition], list, set[str]]:
    """Conditions, named columns and tables of a query with all that is nested in it."""
    conditions = [*query.where, *query.having]
    columns = (
        [item.column for item in (*query.select, *query.order)]
        + [c.column for c in query.where]
        + [*query.group]
    )
    tables = set(query.tables)
    inner = [c.value for c in conditions if isinstance(c.value, Query)]
    for part in inner + ([query.compound[1]] if query.compound else []):
        more = _parts(part)
        conditions, columns, tables = conditions + more[0], columns + more[1], tables | more[2]
    return conditions, columns, tables


def _grouped(query: Query) -> set:
    """What of a query is aggregation or grouping."""
    return {item for item in (*query.select, *query.order) if item.aggregate} | set(query.group)
