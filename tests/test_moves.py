"""Dialogue moves: words determine the SQL, every gold runs, tags say what is there."""

import random
import re
import sqlite3
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtsql_lib.exact_match import EvaluatorSchema, hardness
from mtsql_lib.world.moves import DraftTurn, draft_dialogue, draft_on
from mtsql_lib.world.query import Query, to_sql
from mtsql_lib.world.routes import Routes
from mtsql_lib.world.scene import Scene
from mtsql_lib.world.spec import ColumnSpec, DatabaseSpec, TableSpec, Value, populate
from mtsql_lib.world.voice import Voice, finite_plural, plural
from mtsql_lib.world.wording import clause_of, in_singular


def _column(name, kind, **more):
    return ColumnSpec(name, kind, more.pop("phrase", name.lower()), **more)


def _values(*pairs):
    return tuple(Value(stored, spoken) for stored, spoken in pairs)


def _names(form, words):
    return _values(*((form.format(word), word.lower()) for word in words.split()))


PORTS = TableSpec(
    "port", "port", "ports", 6,
    (
        _column("port_id", "key"),
        _column("name", "label", values=_names("P {}", "OSLO BERGEN MOLDE BODO")),
        _column("region", "category", values=_values(("NTH", "north"), ("STH", "south"))),
    ),
)  # fmt: skip
SHIPS = TableSpec(
    "ship", "ship", "ships", 18,
    (
        _column("ship_id", "key"),
        _column("name", "label", values=_names("{}", "Nora Alda Brim Dyre Egil Frey")),
        _column("port_id", "ref", to="port", verb="based in {}"),
        _column("hull", "category", values=_values(("ST", "steel"), ("WD", "wood"), ("AL", "aluminium"))),
        _column("built", "year", low=1960, high=2020, verb="built in {}", most="newest", least="oldest"),
        _column("length", "number", low=10, high=200, unit="m", more="longer than", less="shorter than"),
    ),
)  # fmt: skip
SAILORS = TableSpec(
    "sailor", "sailor", "sailors", 12,
    (
        _column("sailor_id", "key"),
        _column("name", "label", values=_names("{}", "Ada Bo Cleo Dag Eir Finn Gro")),
        _column("age", "number", low=18, high=70, most="oldest", least="youngest", null_share=0.2),
    ),
)  # fmt: skip
CREW = TableSpec(
    "crew", "post", "posts", 20,
    (
        _column("sailor_id", "ref", to="sailor"),
        _column("ship_id", "ref", to="ship"),
        _column("role", "category", values=_values(("CK", "cook"), ("MT", "mate"))),
    ),
    verb="serves on",
)  # fmt: skip
SPEC = DatabaseSpec("harbour", "a harbour", "world", (PORTS, SHIPS, SAILORS, CREW))


@pytest.fixture(scope="module")
def scene():
    connection = populate(SPEC, random.Random(7))
    yield Scene(SPEC, connection)
    connection.close()


@pytest.fixture(scope="module")
def sample(scene) -> list[list[DraftTurn]]:
    rng = random.Random(11)
    splits = [("steps", "train"), ("talk", "train"), ("steps", "dev"), ("talk", "dev")]
    return [draft_on(scene, rng, *splits[n % 4]) for n in range(400)]


def test_same_seed_gives_the_same_dialogue(scene):
    drawn = [draft_on(scene, random.Random(3), "talk", "train") for _ in range(2)]
    assert drawn[0] == drawn[1] == draft_dialogue(SPEC, scene.connection, random.Random(3), "talk", "train")


def test_every_gold_runs_and_only_marked_ones_are_empty(scene, sample):
    for turn in (turn for dialogue in sample for turn in dialogue):
        rows = scene.connection.execute(to_sql(turn.query)).fetchall()
        empty = all(cell is None for row in rows for cell in row) or rows == [(0,)]
        assert empty == ("vacuous" in turn.causes), to_sql(turn.query)


def test_every_gold_is_in_spiders_grammar(sample):
    columns = {table.name: [column.name for column in table.columns] for table in SPEC.tables}
    classes = Counter(hardness(to_sql(t.query), EvaluatorSchema(columns)) for d in sample for t in d)
    assert set(classes) == {"easy", "medium", "hard", "extra"}
    assert (classes["hard"] + classes["extra"]) / classes.total() > 0.2


def test_lengths_relations_and_first_turns(sample):
    lengths = [len(dialogue) for dialogue in sample]
    assert min(lengths) == 2 and max(lengths) <= 6 and 3 < sum(lengths) / len(lengths) < 3.7
    assert {turn.relation for dialogue in sample for turn in dialogue[:1]} == {""}
    later = {turn.relation for dialogue in sample for turn in dialogue[1:]}
    assert later == {"refinement", "theme-entity", "theme-property", "answer-refinement"}


def test_no_query_is_asked_twice_in_a_dialogue(sample):
    assert all(len({turn.query for turn in dialogue}) == len(dialogue) for dialogue in sample)


def test_many_kinds_of_moves(sample):
    moves = {turn.move for dialogue in sample for turn in dialogue}
    wanted = (
        "list columns add_filter replace_value change_number drop_condition project count superlative order"
    )
    assert moves >= {*wanted.split(), "group_count", "having", "distinct", "union", "correction", "lookup"}


def test_tags_follow_from_the_query(sample):
    for turn in (turn for dialogue in sample for turn in dialogue):
        sql = to_sql(turn.query)
        assert ("join_path" in turn.causes) == (sql.count(" JOIN ") > 1)
        assert ("other_table" in turn.causes) == (
            len(set(re.findall(r"\b(ship|port|sailor|crew)\b", sql))) > 1
        )
        if "'ST'" in sql or "'NTH'" in sql:
            assert "value_mismatch" in turn.causes
    for dialogue in sample:
        assert not {"aggregation_drift", "carried_constraint"} & set(dialogue[0].causes)
        for before, turn in pairwise(dialogue):
            lost = {i for i in before.query.select if i.aggregate} - set(turn.query.select + turn.query.order)
            if "aggregation_drift" in turn.causes:
                assert lost or before.query.group != turn.query.group or before.query.order
            elif turn.relation != "theme-entity":  # a new topic owes nothing to the turn before
                assert not lost


def test_values_are_said_not_spelled_as_stored(sample):
    for turn in (turn for dialogue in sample for turn in dialogue):
        for stored in ("NTH", "STH", "P OSLO"):
            assert stored not in turn.utterance


def test_a_condition_that_comes_anew_is_in_the_words(sample):
    """What tells one literal from another is said in the turn that brings it."""
    for dialogue in sample:
        for before, turn in zip([None, *dialogue], dialogue, strict=False):
            old = set(before.query.where) if before else set()
            for condition in set(turn.query.where) - old:
                if hasattr(condition.value, "spoken") and condition.op == "=":
                    assert condition.value.spoken in turn.utterance, (turn.utterance, to_sql(turn.query))


def test_order_and_distinct_are_in_the_words(sample):
    for dialogue in sample:
        for before, turn in zip([None, *dialogue], dialogue, strict=False):
            if turn.query.distinct and not (before and before.query.distinct):
                assert re.search(r"different|repeat|once", turn.utterance), turn.utterance
            direction = re.search(r" (ASC|DESC)\b", to_sql(turn.query))
            assert bool(direction) == bool(turn.query.order)


def test_steps_are_sentences_and_talk_is_typed_lower_case(scene):
    rng = random.Random(5)
    for turn in (t for _ in range(80) for t in draft_on(scene, rng, "steps", "train")):
        assert turn.utterance[0].isupper() and turn.utterance[-1] in ".?"
    talk = [t.utterance for _ in range(80) for t in draft_on(scene, rng, "talk", "train")]
    assert all(not text[0].isupper() or text.startswith("I ") for text in talk)
    assert any("thank" in text for text in talk)


def test_training_never_hears_a_development_form():
    voices = [Voice(random.Random(n), "steps", "train") for n in range(200)]
    assert not any(v.say("their", columns="x").startswith(("Tell me", "I would")) for v in voices)
    voices = [Voice(random.Random(n), "steps", "dev") for n in range(200)]
    share = sum(v.say("their", columns="x").startswith(("Tell me", "I would")) for v in voices) / 200
    assert 0.25 < share < 0.55


def test_words_are_few_and_hold_no_apostrophe(sample):
    texts = [turn.utterance for dialogue in sample for turn in dialogue]
    assert sum(len(text.split()) for text in texts) / len(texts) < 14
    assert not any("'" in text or "{" in text or "  " in text for text in texts)


def test_routes_are_unique_or_absent():
    routes = Routes(SPEC)
    assert [join.table for join in routes.route("ship", "port")] == ["port"]
    assert [join.table for join in routes.route("sailor", "ship")] == ["crew", "ship"]
    assert routes.route("sailor", "port") is None and routes.route("ship", "ship") == ()
    away = ColumnSpec("away_id", "ref", to="port")
    twice = TableSpec("ship", "ship", "ships", 5, (*SHIPS.columns, away))
    assert Routes(DatabaseSpec("x", "x", "world", (PORTS, twice))).route("ship", "port") is None


@pytest.mark.parametrize(
    ("attribute", "clause", "single"),
    [
        ("with a pool", "have a pool", "with a pool"),
        ("that are open", "are open", "that is open"),
        ("who joined in 1990", "joined in 1990", "who joined in 1990"),
        ("built in 1990", "were built in 1990", "built in 1990"),
        ("based in oslo", "are based in oslo", "based in oslo"),
        ("whose type is open range", "have type open range", "whose type is open range"),
    ],
)
def test_attributes_become_clauses(attribute, clause, single):
    assert clause_of(attribute) == clause and in_singular(attribute) == single


def test_plurals():
    said = ["city", "country of registration", "status", "seats", "price per unit", "class"]
    assert [plural(p) for p in said] == [
        "cities", "countries of registration", "statuses", "seats", "prices per unit", "classes",
    ]  # fmt: skip
    assert [finite_plural(v) for v in ("serves on", "carries", "teaches", "is", "crews")] == [
        "serve on", "carry", "teach", "are", "crew",
    ]  # fmt: skip


def test_the_lowest_of_a_column_with_gaps_is_not_asked_for(sample):
    for turn in (turn for dialogue in sample for turn in dialogue):
        if turn.query.limit and any(item.column.name == "age" for item in turn.query.order):
            assert turn.query.descending


def _ranked(query: Query) -> str:
    limited = to_sql(query).replace(f"LIMIT {query.limit}", f"LIMIT {query.limit + 1}")
    term = to_sql(query).split("ORDER BY ")[1].split(" ASC")[0].split(" DESC")[0]
    return re.sub(r"^SELECT .*? FROM", f"SELECT {term} FROM", limited)


def test_no_limit_cuts_through_a_tie(scene, sample):
    for turn in (turn for dialogue in sample for turn in dialogue):
        if turn.query.limit:
            ranks = scene.connection.execute(_ranked(turn.query)).fetchall()
            assert len(ranks) <= turn.query.limit or ranks[-1] != ranks[-2]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from(["steps", "talk"]))
def test_any_seed_gives_a_dialogue(seed, style):
    rng = random.Random(seed)
    connection = populate(SPEC, rng)
    try:
        turns = draft_dialogue(SPEC, connection, rng, style, "train")
        assert 2 <= len(turns) <= 6
    finally:
        connection.close()


def test_a_database_of_one_table_is_enough():
    lonely = DatabaseSpec("p", "p", "world", (PORTS,))
    connection: sqlite3.Connection = populate(lonely, random.Random(1))
    assert all(
        t.query.base == "port" for t in draft_dialogue(lonely, connection, random.Random(1), "steps", "train")
    )
