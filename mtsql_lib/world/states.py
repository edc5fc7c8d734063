"""The state of a dialogue: what is being asked about right now, and the query that it stands for.

Moves edit a `State`; joins are never edited but follow from the tables that the state touches.
"""

from __future__ import annotations

from dataclasses import dataclass

from mtsql_lib.world.query import Column, Condition, Item, Query
from mtsql_lib.world.scene import COUNT, Scene
from mtsql_lib.world.wording import Filter


@dataclass(frozen=True)
class State:
    """A request about rows of `root` ("they"); FROM begins with `start` if that is another table.

    `lone` says that a condition on the name leaves one row; `news` are the filters of the last turn.
    Shapes: "list" (with a limit: a superlative), "count", "measure", "group", "set" (a set operation).
    """

    root: str
    shape: str
    select: tuple[Item, ...]
    filters: tuple[Filter, ...] = ()
    start: str = ""
    group: Column | None = None
    having: Condition | None = None
    order: tuple[Item, ...] = ()
    descending: bool = False
    limit: int = 0
    distinct: bool = False
    lone: bool = False
    news: tuple[Filter, ...] = ()
    compound: tuple[str, Query] | None = None

    @property
    def singular(self) -> bool:
        """True if the answer is one row of `root`."""
        return self.shape == "list" and (self.lone or self.limit == 1)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The selected columns."""
        return tuple(item.column for item in self.select)


@dataclass(frozen=True)
class Draft:
    """A proposed turn: the new state, its words, and what kind of move it is.

    `place` says which small talk suits ("first", "next", "topic"); `complete` questions name their table.
    """

    state: State
    text: str
    move: str
    relation: str = ""
    place: str = "next"
    complete: bool = False


def assemble(scene: Scene, state: State) -> Query | None:
    """The query of a state, None if a table that it needs has no single route."""
    base = state.start or state.root
    conditions = tuple(c for f in state.filters for c in f.conditions)
    used = [i.column.table for i in (*state.select, *state.order)] + [c.column.table for c in conditions]
    used += [state.group.table] if state.group else []
    targets = [table for table in dict.fromkeys(used) if table and table not in (base, state.root)]
    joins = scene.routes.joins(base, targets, state.root if state.root != base else "")
    either = any(len(f.conditions) > 1 for f in state.filters)
    if joins is None or (either and len(state.filters) > 1):
        return None
    return Query(
        state.select,
        base,
        joins,
        conditions,
        "or" if either else "and",
        (state.group,) if state.group else (),
        (state.having,) if state.having else (),
        state.order,
        state.descending,
        state.limit,
        state.distinct,
        state.compound,
    )


def group_counts(scene: Scene, state: State) -> list[int]:
    """How many rows each group of a state holds."""
    query = assemble(scene, State(state.root, "group", (COUNT,), state.filters, state.start, state.group))
    rows = scene.run(query) if query else None
    return sorted(row[0] for row in rows or [])
