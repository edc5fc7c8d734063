"""The generated world: every database keeps the rules, the same seed gives the same one, and they vary."""

import os
import random
import subprocess
import sys
from collections import Counter
from itertools import chain

import pytest

from mtsql_lib.world.databases import random_spec
from mtsql_lib.world.naming import joined
from mtsql_lib.world.spec import DatabaseSpec, check_spec, populate
from mtsql_lib.world.surfaces import MODES, surfaced
from mtsql_lib.world.words import invent, plural, vocabulary

COUNT = 300


@pytest.fixture(scope="module")
def specs() -> list[DatabaseSpec]:
    rng = random.Random(11)
    return [random_spec(rng) for _ in range(COUNT)]


def _columns(specs):
    return [column for spec in specs for table in spec.tables for column in table.columns]


def test_same_seed_same_database_in_another_process():
    program = (
        "import random; from mtsql_lib.world.databases import random_spec;"
        "print([random_spec(random.Random(n)) for n in range(5)])"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert runs[0].strip() == str([random_spec(random.Random(n)) for n in range(5)])


def test_every_database_keeps_the_rules_and_fills_with_rows(specs):
    rng = random.Random(5)
    for spec in specs:
        check_spec(spec)
        connection = populate(spec, rng)
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        for table in spec.tables:
            assert connection.execute(f"SELECT count(*) FROM {table.name}").fetchone() == (table.rows,)
        connection.close()


def test_sizes_are_those_of_the_world(specs):
    for spec in specs:
        assert spec.split == "world" and 2 <= len(spec.tables) <= 8
        for table in spec.tables:
            assert 2 <= len(table.columns) <= 8 and 6 <= table.rows <= 20


def test_every_table_is_reached_by_references(specs):
    for spec in specs:
        near = {table.name: {table.name} for table in spec.tables}
        for table in spec.tables:
            for ref in table.refs:
                union = near[table.name] | near[ref.to]
                for name in union:
                    near[name] = union
        assert len(near[spec.tables[0].name]) == len(spec.tables)


def test_text_is_plain_and_spoken_forms_are_distinct(specs):
    for column in _columns(specs):
        texts = [
            column.phrase,
            *column.phrases,
            *(str(v.stored) for v in column.values),
            *(v.spoken for v in column.values),
        ]
        assert all(text.isascii() and "'" not in text and '"' not in text for text in texts)
        spoken = [v.spoken.lower() for v in column.values]
        assert len(set(spoken)) == len(spoken)


def test_three_quarters_of_the_pools_are_stored_as_spoken_and_most_others_differ_in_case(specs):
    pools = [column.values for column in _columns(specs) if column.kind in ("label", "category")]
    same = [all(v.stored == v.spoken for v in pool) for pool in pools]
    case = [all(v.stored.lower() == v.spoken.lower() for v in pool) for pool in pools]
    assert 0.66 < sum(same) / len(pools) < 0.82
    assert 0.45 < (sum(case) - sum(same)) / (len(pools) - sum(same)) < 0.65


def test_bridge_tables_say_which_noun_does_what_to_which(specs):
    bridges = [table for spec in specs for table in spec.tables if table.verb]
    assert len(bridges) > COUNT / 20
    assert all(len(table.refs) == 2 and table.bridge for table in bridges)


def test_variety(specs):
    sets = [frozenset(table.name.lower() for table in spec.tables) for spec in specs]
    assert len(set(sets)) > 0.99 * COUNT
    names = Counter(column.name for column in _columns(specs))
    assert len(names) > 2000
    in_two_tables = [
        spec
        for spec in specs
        if len(
            found := list(
                chain.from_iterable(
                    {c.name for c in t.columns if c.kind not in ("key", "ref")} for t in spec.tables
                )
            )
        )
        > len(set(found))
    ]
    assert len(in_two_tables) > 0.25 * COUNT


def test_a_tenth_of_the_nouns_is_invented_and_compounds_are_normal(specs):
    listed = {noun.one.split()[-1] for noun in vocabulary().nouns}
    tables = [table for spec in specs for table in spec.tables if not table.bridge]
    assert 0.06 < sum(table.one.split()[-1] not in listed for table in tables) / len(tables) < 0.14
    columns = [column for column in _columns(specs) if column.kind not in ("key", "ref")]
    assert 0.3 < sum(" " in column.phrase for column in columns) / len(columns) < 0.6


def test_lists_are_large_enough_and_hold_no_strays():
    words = vocabulary()
    assert len(words.nouns) >= 400 and len(words.concepts) >= 250
    families = [c for c in words.concepts if c.kind == "category"]
    assert len(families) >= 120 and len({v for c in families for v in c.values}) >= 1500
    assert len({noun.one for noun in words.nouns}) == len(words.nouns)
    kinds = {noun.kind for noun in words.nouns}
    assert {kind for concept in words.concepts for kind in concept.classes} <= kinds | {"*"}
    assert all(words.links[pair] and words.bridges[pair] for pair in words.links)
    assert all(verb.count("{}") == 1 for concept in words.concepts for verb in concept.verbs)


@pytest.mark.parametrize("mode", MODES)
def test_surfaces_keep_values_apart(mode):
    texts = ["full time", "part time", "temporary", "permanent", "on call"]
    for seed in range(40):
        pool = surfaced(texts, mode, ("~ contract",), random.Random(seed))
        assert len({v.stored.lower() for v in pool}) == len({v.spoken.lower() for v in pool}) == len(texts)
        assert all(v.stored == v.spoken for v in pool) == (mode == "same")


def test_plurals_and_identifiers():
    assert [plural(word) for word in ("bus", "city", "boy", "watch", "ferry", "song")] == [
        "buses",
        "cities",
        "boys",
        "watches",
        "ferries",
        "songs",
    ]
    styles = ("snake", "mixed", "camel", "inner", "flat", "upper")
    assert [joined(["home", "city"], style) for style in styles] == [
        "home_city",
        "Home_City",
        "HomeCity",
        "homeCity",
        "homecity",
        "HOME_CITY",
    ]


def test_invented_words_rarely_repeat():
    rng = random.Random(0)
    assert len({invent(rng) for _ in range(2000)}) > 1950


def test_no_invented_word_holds_what_no_name_may_hold(monkeypatch):
    monkeypatch.setattr("mtsql_lib.world.words._stock", lambda: ("evaporate", "blueberry", "valley", "glue"))
    rng = random.Random(1)
    assert not any("value" in invent(rng) for _ in range(3000))
