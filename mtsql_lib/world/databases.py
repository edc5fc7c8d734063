"""The generated world: databases drawn at random, on which the tiny model learns to read unseen schemas.

`random_spec` draws nouns from all walks of life and joins them by references, so no database has a real
topic; names, spelling habits and values vary so much that only copying helps. The same `rng` state gives the
same database. Left out: likeness to a real database, self references, two references to the same table.
"""

from __future__ import annotations

import random
from dataclasses import replace

from mtsql_lib.world.columns import Draft, Sheet, free_column, label_column
from mtsql_lib.world.naming import Style, random_style
from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec
from mtsql_lib.world.words import Noun, Vocabulary, invent, plural, vocabulary

_INVENTED_NOUN, _COMPOUND_NOUN = 0.1, 0.13
# about as large as databases that people make: on average five tables with five columns each
_SIZES, _SIZE_WEIGHTS = (2, 3, 4, 5, 6, 7, 8), (9, 17, 22, 22, 17, 8, 5)
_COLUMNS, _COLUMN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8), (5, 12, 20, 22, 19, 13, 9)


def random_spec(rng: random.Random, strange: float = 1.0) -> DatabaseSpec:
    """A database of 2-8 tables with 2-8 columns and 6-20 rows each; it keeps the rules of `check_spec`.

    Invented words are `strange` times as frequent as they are at first, which is about every sixth column.
    """
    words = vocabulary()
    style = random_style(rng, words.lists["tablehead"], words.lists["tabletail"])
    draft = Draft(rng, words, style, strange)
    count = rng.choices(_SIZES, _SIZE_WEIGHTS)[0]
    bridged = count > 2 and rng.random() < 0.3
    nouns = _nouns(count - bridged, words, rng, _INVENTED_NOUN * strange)
    names: set[str] = set()
    tables: list[TableSpec] = []
    for noun, parents in zip(nouns, _shape(len(nouns), bridged, rng), strict=True):
        linked = [(nouns[position], tables[position]) for position in parents]
        tables.append(_table(noun, linked, draft, names))
    if bridged:
        tables.append(_bridge(list(zip(nouns, tables, strict=True)), draft, names))
    if rng.random() < 0.4:
        rng.shuffle(tables)
    topic = ", ".join(table.many for table in tables[:-1]) + f" and {tables[-1].many}"
    return DatabaseSpec(f"world_{rng.randrange(10**6):06d}", topic, "world", tuple(tables))


def _nouns(count: int, words: Vocabulary, rng: random.Random, invented: float) -> list[Noun]:
    """Different nouns: listed ones, invented ones and compounds ("market drone")."""
    found: dict[str, Noun] = {}
    while len(found) < count:
        noun, chance = rng.choice(words.nouns), rng.random()
        if chance < invented:
            one = invent(rng)
            noun = Noun(one, plural(one), noun.kind)
        elif chance < invented + _COMPOUND_NOUN and " " not in noun.one:
            prefix = rng.choice(words.lists["prefix"])
            noun = Noun(f"{prefix} {noun.one}", f"{prefix} {noun.many}", noun.kind)
        found.setdefault(noun.one, noun)
    return list(found.values())


def _shape(count: int, bridged: bool, rng: random.Random) -> list[tuple[int, ...]]:
    """The earlier tables that each table refers to: a chain, a star, a tree, or one that refers to all."""
    shape = rng.choice(("chain", "star", "tree", "hub"))
    if bridged and count == 2 and rng.random() < 0.7:
        return [(), ()]
    if shape == "hub" and 2 < count < 5:
        return [() for _ in range(count - 1)] + [tuple(range(count - 1))]
    pick = {"chain": lambda i: i - 1, "star": lambda i: 0}.get(shape, rng.randrange)
    return [()] + [(pick(position),) for position in range(1, count)]


def _table(noun: Noun, parents: list[tuple[Noun, TableSpec]], draft: Draft, names: set[str]) -> TableSpec:
    rng = draft.rng
    sheet = _sheet(noun, draft)
    name = draft.style.table(_table_words(noun, draft.style, rng), rng, names)
    columns = [_key(noun, draft, sheet)]
    refs = [_ref(noun, other, table, draft, sheet) for other, table in parents]
    room = (
        max(2 + len(refs) * (rng.random() < 0.8), rng.choices(_COLUMNS, _COLUMN_WEIGHTS)[0]) - 1 - len(refs)
    )
    if room > 0 and rng.random() < 0.93:
        columns.append(label_column(draft, sheet))
        room -= 1
    columns += [free_column(draft, sheet) for _ in range(room)]
    for ref in refs:
        columns.insert(len(columns) if rng.random() < 0.5 else rng.randint(1, len(columns)), ref)
    return TableSpec(name, noun.one, noun.many, sheet.rows, tuple(columns))


def _bridge(linked: list[tuple[Noun, TableSpec]], draft: Draft, names: set[str]) -> TableSpec:
    """A many-to-many table between two of the others, with a verb and sometimes columns of its own."""
    rng, style = draft.rng, draft.style
    (left, first), (right, second) = rng.sample(linked, 2)
    chosen = rng.choice(draft.words.bridges[left.kind, right.kind])
    one = rng.choice(chosen.names)
    noun = Noun(one, plural(one), "paper")
    spoken = one if rng.random() < 0.6 else f"{left.one} {right.one}"
    sheet = _sheet(noun, draft)
    sheet.rows = rng.randint(8, 20)
    columns = [_key(noun, draft, sheet)] if rng.random() < 0.4 else []
    columns += [
        replace(_ref(noun, other, table, draft, sheet, plain=True), null_share=0.0)
        for other, table in ((left, first), (right, second))
    ]
    columns += [free_column(draft, sheet) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
    return TableSpec(style.table(spoken, rng, names), one, noun.many, sheet.rows, tuple(columns), chosen.verb)


def _sheet(noun: Noun, draft: Draft) -> Sheet:
    return Sheet(noun, draft.rng.randint(6, 20), draft.style.shorten(noun.one.split()[-1], draft.rng))


def _table_words(noun: Noun, style: Style, rng: random.Random) -> str:
    if noun.tables and rng.random() < 0.35:
        return rng.choice(noun.tables)
    return noun.many if style.plural else noun.one


def _key(noun: Noun, draft: Draft, sheet: Sheet) -> ColumnSpec:
    return ColumnSpec(
        draft.style.column(_key_words(noun.one, draft.style, sheet.short), draft.rng, sheet.names), "key"
    )


def _key_words(noun: str, style: Style, short: str) -> str:
    noun = short if style.prefix else noun
    shapes = {
        "id": "id",
        "noun_id": f"{noun} id",
        "id_noun": f"id {noun}",
        "noun_no": f"{noun} no",
        "noun_key": f"{noun} key",
    }
    return shapes[style.key]


def _ref(
    noun: Noun, other: Noun, table: TableSpec, draft: Draft, sheet: Sheet, plain: bool = False
) -> ColumnSpec:
    """A reference, called by the role of the other ("owner_id"), by its noun or exactly like its key."""
    rng, style = draft.rng, draft.style
    link = rng.choice(draft.words.links[noun.kind, other.kind])
    role = link.role if link.role and not plain and rng.random() < 0.4 else ""
    said = role or other.one
    suffix = {"noun_no": "no", "noun_key": "key"}.get(style.key, "id")
    written = said if not style.ref_suffix else f"id {said}" if style.key == "id_noun" else f"{said} {suffix}"
    key = table.key.name if table.key else ""
    if not role and style.key != "id" and style.ref_suffix and key.lower() not in sheet.names:
        name = key
        sheet.names.add(key.lower())
    else:
        name = style.column(written, rng, sheet.names)
    verb = link.verb if not plain and rng.random() < 0.85 else ""
    null_share = 0.1 if not plain and rng.random() < 0.1 else 0.0
    return ColumnSpec(name, "ref", said, to=table.name, verb=verb, null_share=null_share)
