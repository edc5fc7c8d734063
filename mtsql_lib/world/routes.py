"""How the tables of a database hang together: the one join path between two tables, if it is the only one.

A question must determine its SQL, so two tables are joined only where a person could mean one thing: along
one foreign key (`trip` to `ship`), two in a row (`trip` to `ship` to `port`), or across one bridge table
(`sailor` to `ship`). Self-references and double references (home and away team) have no route.
"""

from __future__ import annotations

from mtsql_lib.world.query import Column, Join
from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec

Route = tuple[Join, ...]


class Routes:
    """Join paths of one database, by table names."""

    def __init__(self, spec: DatabaseSpec):
        self.tables = {table.name: table for table in spec.tables}
        self.refs = _single_refs(spec)
        self.bridges = [t for t in spec.tables if t.bridge and self._crosses(t)]
        self._routes: dict[tuple[str, str], Route | None] = {}
        self._build()

    def _crosses(self, table: TableSpec) -> bool:
        left, right = (ref.to for ref in table.refs[:2])
        return left != right and {(table.name, left), (table.name, right)} <= self.refs.keys()

    def parents(self, table: str) -> list[tuple[ColumnSpec, TableSpec]]:
        """The tables that this one points to by a single foreign key, with that key's column."""
        return [(ref, self.tables[to]) for (child, to), ref in self.refs.items() if child == table]

    def children(self, table: str) -> list[tuple[ColumnSpec, TableSpec]]:
        """The tables that point to this one by a single foreign key, bridge tables left out."""
        found = [(ref, self.tables[child]) for (child, to), ref in self.refs.items() if to == table]
        return [(ref, child) for ref, child in found if not child.bridge]

    def crossings(self, table: str) -> list[tuple[TableSpec, TableSpec, bool]]:
        """(bridge table, table on its other side, whether this table is the subject of the bridge's verb)."""
        found = []
        for bridge in self.bridges:
            subject, thing = (ref.to for ref in bridge.refs[:2])
            if table in (subject, thing):
                other = thing if table == subject else subject
                if self.route(table, other):
                    found.append((bridge, self.tables[other], table == subject))
        return found

    def route(self, base: str, target: str) -> Route | None:
        """The joins that lead from one table to another: () for itself, None if there is no single way."""
        return () if base == target else self._routes.get((base, target))

    def joins(self, base: str, targets: list[str], via: str = "") -> Route | None:
        """The joins that bring all targets into a query on `base`; with `via` that table is joined first."""
        chosen: dict[str, Join] = {}
        for start, target in ([(base, via)] if via else []) + [(via or base, target) for target in targets]:
            path = self.route(start, target) if target != base else ()
            if path is None:
                return None
            for join in path:
                if join.table != base:
                    chosen.setdefault(join.table, join)
        return tuple(chosen.values())

    def _build(self) -> None:
        for (child, parent), ref in self.refs.items():
            self._routes[child, parent] = (self._join(child, ref, parent),)
            self._routes[parent, child] = (self._join(child, ref, child),)
        for bridge in self.bridges:
            left, right = bridge.refs[:2]
            for near, far in ((left, right), (right, left)):
                joins = (self._join(bridge.name, near, bridge.name), self._join(bridge.name, far, far.to))
                self._offer(near.to, far.to, joins)
        for (child, middle), ref in self.refs.items():
            for (start, parent), onward in self.refs.items():
                if start == middle and parent != child and not self.tables[child].bridge:
                    joins = (self._join(child, ref, middle), self._join(middle, onward, parent))
                    self._offer(child, parent, joins)

    def _offer(self, base: str, target: str, joins: Route) -> None:
        # A second way of the same length makes the first one ambiguous; a direct key stays what people mean.
        old = self._routes.get((base, target), ())
        if old is not None and len(old) != 1:
            self._routes[base, target] = None if old else joins

    def _join(self, child: str, ref: ColumnSpec, table: str) -> Join:
        key = self.tables[ref.to].key
        return Join(table, Column(child, ref.name), Column(ref.to, key.name if key else ""))


def _single_refs(spec: DatabaseSpec) -> dict[tuple[str, str], ColumnSpec]:
    found: dict[tuple[str, str], ColumnSpec | None] = {}
    for table in spec.tables:
        for ref in table.refs:
            pair = (table.name, ref.to)
            found[pair] = None if pair in found else ref
    return {
        pair: ref for pair, ref in found.items() if ref and pair[0] != pair[1] and pair[::-1] not in found
    }
