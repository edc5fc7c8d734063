"""The bundled corpora: the same bytes on every build, and what is committed is what the issue asks for."""

import json
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from mtsql_lib.corpus import MINIMUM, build, check, normal, tables_entry, write_database
from mtsql_lib.corpus_card import CAUSES, HARDNESS, columns_named, corpus_counts, table_named
from mtsql_lib.dialogues import read_dialogues
from mtsql_lib.errors import KitError
from mtsql_lib.exact_match import evaluator_schema
from mtsql_lib.world.spec import load_spec, populate

DATA = Path(__file__).parent.parent / "data"
CORPORA = [(style, split) for style in ("steps", "talk") for split in ("train", "dev")]


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    specs = {path.stem: load_spec(path) for path in sorted((DATA / "sources").glob("*.toml"))}
    for split in ("train", "dev"):
        small = sorted((sum(t.rows for t in s.tables), name) for name, s in specs.items() if s.split == split)
        for _, name in small[:2]:
            shutil.copy(DATA / "sources" / f"{name}.toml", folder)
    return folder


@pytest.fixture(scope="module")
def built(sources, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("corpora")
    build(sources, out, aim={"train": 60, "dev": 30})
    return out


def _bytes(out: Path) -> dict[str, bytes]:
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}


def test_two_builds_are_alike_byte_for_byte(sources, built, tmp_path):
    build(sources, tmp_path, aim={"train": 60, "dev": 30})
    assert _bytes(tmp_path) == _bytes(built)


def test_another_seed_gives_other_dialogues(sources, built, tmp_path):
    build(sources, tmp_path, seed=1, aim={"train": 60, "dev": 30})
    assert _bytes(tmp_path)["steps/train.json"] != _bytes(built)["steps/train.json"]


def test_a_build_leaves_nothing_else_behind(built):
    assert sorted(p.name for p in built.iterdir()) == ["CARD.md", "SHA256SUMS", "database", "steps", "talk"]


def test_a_database_file_does_not_name_its_writer(sources, tmp_path):
    spec = load_spec(next(iter(sorted(sources.glob("*.toml")))))
    connection = populate(spec, random.Random(1))
    write_database(spec, connection, tmp_path / "one" / "x.sqlite")
    header = (tmp_path / "one" / "x.sqlite").read_bytes()[:100]
    assert header[16:18] == (4096).to_bytes(2, "big")
    assert header[24:28] == header[92:96] == bytes((0, 0, 0, 1)) and header[96:100] == (3040000).to_bytes(
        4, "big"
    )
    copy = sqlite3.connect(tmp_path / "one" / "x.sqlite")
    assert copy.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    for table in spec.tables:
        query = f"SELECT * FROM {table.name}"
        assert copy.execute(query).fetchall() == connection.execute(query).fetchall()
    copy.close()
    connection.close()


def test_tables_json_agrees_with_the_files(built):
    for entry in json.loads((built / "talk" / "tables.json").read_text()):
        path = built / "database" / entry["db_id"] / f"{entry['db_id']}.sqlite"
        schema = evaluator_schema(path)
        named = [[] for _ in entry["table_names_original"]]
        for table, column in entry["column_names_original"][1:]:
            named[table].append(column.lower())
        assert (
            dict(zip((t.lower() for t in entry["table_names_original"]), named, strict=True))
            == schema.columns
        )
        connection = sqlite3.connect(path)
        declared = sum(
            len(connection.execute(f"PRAGMA foreign_key_list({t})").fetchall())
            for t in entry["table_names_original"]
        )
        connection.close()
        assert len(entry["foreign_keys"]) == declared > 0
        assert len(entry["column_types"]) == len(entry["column_names"]) == len(entry["column_names_original"])


def test_tables_entry_points_at_the_right_columns(sources):
    entry = tables_entry(load_spec(next(iter(sorted(sources.glob("*.toml"))))))
    for child, parent in entry["foreign_keys"]:
        assert parent in entry["primary_keys"] and entry["column_types"][child] == "number"


@pytest.mark.parametrize("name", ["steps/dev.json", "CARD.md"])
def test_a_changed_file_is_found(built, tmp_path, name):
    out = tmp_path / "copy"
    shutil.copytree(built, out)
    (out / name).write_bytes((out / name).read_bytes() + b" ")
    with pytest.raises(KitError, match=f"{Path(name).name} has changed"):
        check(out, complete=False)


def test_a_missing_file_and_a_missing_corpus_are_named(built, tmp_path):
    with pytest.raises(KitError, match="SHA256SUMS is missing"):
        check(tmp_path)
    out = tmp_path / "copy"
    shutil.copytree(built, out)
    (out / "talk" / "tables.json").unlink()
    with pytest.raises(KitError, match=r"tables\.json is missing"):
        check(out, complete=False)


def test_sources_of_one_split_are_refused(sources, tmp_path):
    for path in sources.glob("*.toml"):
        if load_spec(path).split == "train":
            shutil.copy(path, tmp_path)
    with pytest.raises(KitError, match="needs databases of both splits"):
        build(tmp_path, tmp_path / "out")


def test_too_few_questions_are_refused(built):
    with pytest.raises(KitError, match="fewer than 3000"):
        check(built)


# The committed corpora.


def test_the_committed_corpora_hold():
    report = check(DATA)
    assert all(count >= MINIMUM[name.split("/")[1]] for name, count in report.questions.items())


def test_the_committed_databases_are_what_was_asked_for():
    specs = [load_spec(path) for path in sorted((DATA / "sources").glob("*.toml"))]
    assert len(specs) >= 24 and all(3 <= len(spec.tables) <= 6 for spec in specs)
    splits = {spec.id: spec.split for spec in specs}
    for style, split in CORPORA:
        used = {dialogue.database_id for dialogue in read_dialogues(DATA / style / f"{split}.json")}
        assert used == {name for name, its in splits.items() if its == split}


@pytest.fixture(scope="module")
def counts():
    return corpus_counts(DATA)


def test_hardness_relations_and_causes_are_all_there(counts):
    for name, found in counts.items():
        hard = (found.hardness["hard"] + found.hardness["extra"]) / found.questions
        assert hard >= 0.25 and all(found.hardness[level] for level in HARDNESS), name
        later = found.questions - found.dialogues
        for relation in ("refinement", "theme-entity", "theme-property", "answer-refinement"):
            assert found.relations[relation] / later > 0.04, (name, relation)
        assert found.causes["vacuous"] / found.questions < 0.03
        shares = {cause: found.causes[cause] / found.questions for cause in CAUSES if cause != "vacuous"}
        assert min(shares.values()) > 0.03 and shares["value_mismatch"] > 0.12, (name, shares)
        assert 0.6 < found.named / found.questions < 0.75, name  # as in SParC: 0.66 and 0.72
        tables = found.tables[True] / (found.tables[True] + found.tables[False])
        assert 0.85 < tables < 0.96, name  # as in SParC: 0.89 and 0.90
        assert set(found.lengths) <= {2, 3, 4, 5, 6} and 3 < found.questions / found.dialogues < 3.7
        assert found.words / found.questions <= 14


def test_no_dialogue_occurs_twice():
    texts = [
        normal(" ".join(turn.utterance for turn in dialogue.turns))
        for style, split in CORPORA
        for dialogue in read_dialogues(DATA / style / f"{split}.json")
    ]
    assert len(texts) == len(set(texts))


def test_the_card_says_what_is_there(counts):
    card = (DATA / "CARD.md").read_text(encoding="utf-8")
    assert "Apache-2.0" in card and all(f"`{cause}`" in card for cause in CAUSES)
    assert " | ".join(str(c.questions) for c in counts.values()) in card


def test_normal_forgets_case_and_punctuation():
    assert normal("What about  Oslo?") == normal("what about oslo") != normal("what about bergen")


@pytest.mark.parametrize(
    ("sql", "heard", "named"),
    [
        ("SELECT name FROM route WHERE distance > 5", "which routes have a distance over 5?", True),
        ("SELECT Name FROM Route WHERE SeaMiles > 5", "which routes are longer than 5?", False),
        ("SELECT price FROM ticket", "what are they priced at?", True),
        ("SELECT ticket_id, price FROM ticket", "the tickets and what they cost", False),
        ("SELECT count(*) FROM ticket", "how many?", True),
    ],
)
def test_a_column_is_named_when_its_words_were_said(sql, heard, named):
    assert columns_named(sql, heard) == named


@pytest.mark.parametrize(
    ("sql", "heard", "named"),
    [
        ("SELECT name FROM ferry_route", "list the routes", True),
        ("SELECT name FROM cities", "which city is the largest?", True),
        ("SELECT name FROM members", "list the riders", False),
        ("SELECT a.x FROM a JOIN b ON a.id = b.id", "every a and b", None),
    ],
)
def test_a_table_is_named_when_a_word_of_it_was_said(sql, heard, named):
    assert table_named(sql, heard) == named
