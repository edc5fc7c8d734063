"""Drawing conditions: which column, which operator, which value that really occurs.

Most values come from the cells, so that results are not empty. A condition on another table goes along a
route of `routes.py`; one on child rows becomes IN or NOT IN, so that no parent is listed twice.
"""

from __future__ import annotations

from mtsql_lib.world.query import Column, Condition, Item, Literal, Query
from mtsql_lib.world.scene import MEASURED, Scene
from mtsql_lib.world.spec import ColumnSpec, TableSpec
from mtsql_lib.world.voice import Voice
from mtsql_lib.world.wording import Filter, word_filter

_KINDS = {
    "choice": 34,
    "measure": 21,
    "pattern": 3,
    "parent": 22,
    "grandparent": 9,
    "across": 14,
    "average": 8,
    "children": 7,
    "childless": 5,
    "named": 5,
}


def draw_filter(
    scene: Scene,
    voice: Voice,
    root: str,
    taken: tuple[Filter, ...] = (),
    alone: bool = False,
    plain: bool = False,
) -> Filter | None:
    """A condition for rows of `root` on a column that `taken` leaves free, None if ten draws fail.

    `alone` allows two values joined by OR; `plain` keeps to comparisons with a constant on `root` itself.
    """
    used = {f.column for f in taken}
    kinds = {k: w for k, w in _KINDS.items() if not plain or k in ("choice", "measure")}
    for _ in range(10):
        kind = voice.rng.choices(list(kinds), list(kinds.values()))[0]
        conditions = _DRAWERS[kind](scene, voice, scene.table(root), alone)
        if conditions and conditions[0].column not in used:
            return word_filter(scene, voice, root, conditions)
    return None


def columns_of(table: TableSpec, *kinds: str) -> list[Column]:
    """The columns of these kinds."""
    return [Column(table.name, column.name) for column in table.columns if column.kind in kinds]


def label_of(table: TableSpec) -> Column | None:
    """The column that names a row."""
    return Column(table.name, table.label.name) if table.label else None


def _choice(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    columns = columns_of(table, "category", "flag")
    return _equal(scene, voice, voice.rng.choice(columns), alone) if columns else ()


def _equal(scene: Scene, voice: Voice, column: Column, alone: bool) -> tuple[Condition, ...]:
    value = scene.draw(column, voice.rng)
    if value is None:
        return ()
    chance = voice.rng.random()
    if chance < 0.1 and alone:
        other = scene.draw(column, voice.rng)
        if other.stored != value.stored and scene.spec_of(column).kind != "flag":
            return (Condition(column, "=", value), Condition(column, "=", other))
    op = "!=" if chance > 0.93 and scene.spec_of(column).kind != "flag" else "="
    return (Condition(column, op, value),)


def _measure(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    columns = columns_of(table, *MEASURED)
    return _compared(scene, voice, voice.rng.choice(columns)) if columns else ()


def _compared(scene: Scene, voice: Voice, column: Column) -> tuple[Condition, ...]:
    spec, rng = scene.spec_of(column), voice.rng
    op = rng.choices((">", "<", ">=", "<=", "between", "="), (34, 30, 11, 7, 10, 8))[0]
    if op == "=":
        value = scene.draw(column, rng) if spec.kind != "number" or not spec.decimals else None
        return (Condition(column, "=", value),) if value else ()
    if op == "between":
        ends = [scene.threshold(column, rng, 0.05, 0.45), scene.threshold(column, rng, 0.55, 0.95)]
        if None in ends or ends[0].stored >= ends[1].stored:
            return ()
        return (Condition(column, op, (ends[0], with_unit(voice, spec, ends[1]))),)
    value = scene.threshold(column, rng, *((0.1, 0.75) if ">" in op else (0.25, 0.9)))
    return (Condition(column, op, with_unit(voice, spec, value)),) if value else ()


def with_unit(voice: Voice, column: ColumnSpec, value: Literal) -> Literal:
    """A number said with its unit, where there is one, most of the time."""
    if column.unit and voice.rng.random() < 0.6:
        return Literal(value.stored, f"{value.spoken} {column.unit}")
    return value


def _pattern(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    columns = [c for c in columns_of(table, "label")]
    value = scene.draw(voice.rng.choice(columns), voice.rng) if columns else None
    if value is None:
        return ()
    column = columns[0] if len(columns) == 1 else next(c for c in columns if value.stored in scene.cells(c))
    if voice.rng.random() < 0.4:
        start = str(value.stored)[:1].lower()
        return (Condition(column, "like", Literal(f"{start}%", start)),) if start.isalpha() else ()
    words = [w for w in str(value.stored).lower().split() if len(w) >= 3 and w.isalpha()]
    if not words:
        return ()
    word = voice.rng.choice(words)
    return (Condition(column, "like", Literal(f"%{word}%", word)),)


def _parent(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    parents = [parent for _, parent in scene.routes.parents(table.name)]
    return _there(scene, voice, voice.rng.choice(parents), alone) if parents else ()


def _grandparent(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    found = []
    for _, parent in scene.routes.parents(table.name):
        for _, target in scene.routes.parents(parent.name):
            route = scene.routes.route(table.name, target.name)
            if route and len(route) == 2:
                found.append(target)
    return _there(scene, voice, voice.rng.choice(found), False) if found else ()


def _there(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    """A condition on a column of a table at the end of a route: its name in half of the cases."""
    label = label_of(table)
    chance = voice.rng.random()
    if label and chance < 0.5:
        return _equal(scene, voice, label, alone)
    return _choice(scene, voice, table, False) if chance < 0.8 else _measure(scene, voice, table, False)


def _across(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    sides = [other for _, other, _ in scene.routes.crossings(table.name) if other.label]
    column = label_of(voice.rng.choice(sides)) if sides else None
    value = scene.draw(column, voice.rng) if column else None
    return (Condition(column, "=", value),) if value else ()


def _average(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    columns = columns_of(table, "number")
    if not columns:
        return ()
    column = voice.rng.choice(columns)
    return (Condition(column, voice.rng.choice("><"), Query((Item(column, "avg"),), table.name)),)


def _children(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    children = scene.routes.children(table.name)
    if not children or not table.key:
        return ()
    ref, child = voice.rng.choice(children)
    inner = draw_filter(scene, voice, child.name, plain=True)
    if inner is None:
        return ()
    query = Query((Item(Column(child.name, ref.name)),), child.name, where=inner.conditions)
    return (Condition(Column(table.name, table.key.name), "in", query),)


def _childless(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    found = [(ref, child) for ref, child in scene.routes.children(table.name)]
    for bridge, _, active in scene.routes.crossings(table.name):
        found.append((bridge.refs[0 if active else 1], bridge))
    # NOT IN over a NULL is never true, so only refs without gaps are asked about.
    found = [(ref, child) for ref, child in found if not ref.null_share]
    if not found or not table.key:
        return ()
    ref, child = voice.rng.choice(found)
    query = Query((Item(Column(child.name, ref.name)),), child.name)
    return (Condition(Column(table.name, table.key.name), "not in", query),)


def _named(scene: Scene, voice: Voice, table: TableSpec, alone: bool) -> tuple[Condition, ...]:
    """Compared with a named row of the same table: "older than nordlys", "with the same flag as nordlys"."""
    label = label_of(table)
    columns = columns_of(table, "number", "year", "category")
    if not label or not columns:
        return ()
    column, name = voice.rng.choice(columns), scene.draw(label, voice.rng)
    if name is None or scene.cells(label).count(name.stored) > 1:
        return ()
    op = "=" if scene.spec_of(column).kind == "category" else voice.rng.choice("><")
    query = Query((Item(column),), table.name, where=(Condition(label, "=", name),))
    return (Condition(column, op, query),)


_DRAWERS = {
    "choice": _choice,
    "measure": _measure,
    "pattern": _pattern,
    "parent": _parent,
    "grandparent": _grandparent,
    "across": _across,
    "average": _average,
    "children": _children,
    "childless": _childless,
    "named": _named,
}
