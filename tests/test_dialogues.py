"""The reader takes SParC's and CoSQL's layouts and names what is wrong with anything else."""

import json

import pytest

from mtsql_lib.dialogues import Dialogue, Question, Turn, find_split, questions, read_dialogues
from mtsql_lib.errors import KitError

ENTRY = {
    "database_id": "harbour",
    "interaction": [
        {
            "utterance": "how many ferries?",
            "query": "SELECT count(*) FROM ferry",
            "sql": {},
            "utterance_toks": [],
        },
        {
            "utterance": "name them",
            "query": "SELECT name FROM ferry",
            "relation": "refinement",
            "causes": ["drift"],
        },
    ],
    "final": {"utterance": "the goal", "query": "SELECT 1"},
}


def write(tmp_path, data) -> str:
    path = tmp_path / "cosql_dev.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


def test_reads_the_layout_and_leaves_the_final_goal_out(tmp_path):
    dialogues = read_dialogues(write(tmp_path, [ENTRY, {**ENTRY, "id": 7}]))
    turns = (
        Turn("how many ferries?", "SELECT count(*) FROM ferry"),
        Turn("name them", "SELECT name FROM ferry", "refinement", ("drift",)),
    )
    assert dialogues == [Dialogue("cosql_dev_0000", "harbour", turns), Dialogue("7", "harbour", turns)]


def test_each_turn_is_a_question_that_knows_only_what_came_before(tmp_path):
    dialogue = read_dialogues(write(tmp_path, [ENTRY]))[0]
    first, second = questions([dialogue])
    assert (first.id, first.turn, first.history, first.gold) == (
        "cosql_dev_0000/0", 0, (), "SELECT count(*) FROM ferry",
    )  # fmt: skip
    assert second.history == dialogue.turns[:1]
    assert (second.dialogue_id, second.turn, second.relation) == ("cosql_dev_0000", 1, "refinement")
    assert second.causes == ("drift",)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ("{", "not readable JSON"),
        ("[" * 100_000, "not readable JSON"),
        ('{"a": 1}', "holds a dict where a list"),
        ([3], "dialogue 0 is a int"),
        ([{"interaction": []}], "dialogue 0: database_id is missing"),
        ([{"database_id": "x"}], "dialogue 0: interaction is missing"),
        ([ENTRY, {"database_id": "x", "interaction": ["a"]}], "dialogue 1, turn 0 is a str"),
        (
            [{"database_id": "x", "interaction": [{"utterance": None, "query": "SELECT 1"}]}],
            "turn 0: utterance",
        ),
        (
            [{"database_id": "x", "interaction": [{"utterance": " ", "query": "SELECT 1"}]}],
            "no utterance or no query",
        ),
        ([{"database_id": "x", "interaction": [{"utterance": "a"}]}], "turn 0: query is missing"),
        ([{**ENTRY, "id": "a"}, {**ENTRY, "id": "a"}], "2 dialogues with the id a"),
    ],
)
def test_each_fault_is_one_sentence_with_file_and_place(tmp_path, data, says):
    path = write(tmp_path, data)
    with pytest.raises(KitError) as caught:
        read_dialogues(path)
    assert str(path) in str(caught.value) and says in str(caught.value) and "\n" not in str(caught.value)


def test_faulty_dialogues_can_be_left_out_but_are_named(tmp_path):
    skipped: list[str] = []
    dialogues = read_dialogues(write(tmp_path, [{"database_id": "x", "interaction": [{}]}, ENTRY]), skipped)
    assert [d.id for d in dialogues] == ["cosql_dev_0001"]
    assert len(skipped) == 1 and "dialogue 0, turn 0" in skipped[0]


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(KitError, match="no dialogues at"):
        read_dialogues(tmp_path / "dev.json")
    with pytest.raises(KitError, match="cannot be read"):
        read_dialogues(tmp_path)


@pytest.mark.parametrize(
    "name", ["dev.json", "cosql_dev.json", "sparc_dev.json", "sql_state_tracking/cosql_dev.json"]
)
def test_a_split_is_found_under_its_published_names(tmp_path, name):
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
    assert find_split(tmp_path, "dev") == tmp_path / name
    with pytest.raises(KitError, match="no train split in .*looked for train.json, cosql_train.json"):
        find_split(tmp_path, "train")


def test_a_question_prints_its_dialogue_escaped():
    question = Question("d/1", "d", 1, "x", (Turn("a < b?", "SELECT 1"),), "<b>now</b>", "SELECT 2")
    html = question._repr_html_()
    assert "a &lt; b?" in html and "&lt;b&gt;now" in html and "SELECT 2" in html
