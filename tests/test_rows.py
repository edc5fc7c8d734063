"""A row from an episode that was really played, on a database of two tables."""

import sqlite3

import pytest

from mtsql_lib.dialogues import Question, Turn
from mtsql_lib.environment import Environment, Step
from mtsql_lib.executor import Executor
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.play import Scored, replay_gold
from mtsql_lib.protocol import compose
from mtsql_lib.rewards import final_sql, reward
from mtsql_lib.rows import row_of, unplayed
from mtsql_lib.schema import read_schema
from mtsql_lib.scoring import Judge

GOLD = "SELECT name FROM ship WHERE flag = 'NOR'"


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("databases")
    (folder / "ferry").mkdir()
    with sqlite3.connect(folder / "ferry" / "ferry.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE ship (ship_id INTEGER PRIMARY KEY, name TEXT, flag TEXT);"
            "INSERT INTO ship VALUES (1, 'Nordlys', 'NOR'), (2, 'Havskatt', 'SWE');"
        )
    connection.close()
    return folder


@pytest.fixture(scope="module")
def judge(databases):
    return Judge(databases)


def question(gold: str = GOLD, turn: int = 0) -> Question:
    history = tuple(Turn("how many ships?", "SELECT count(*) FROM ship") for _ in range(turn))
    return Question(f"d/{turn}", "d", turn, "ferry", history, "which ships are norwegian?", gold, ("case",))


def played(asked: Question, messages: list[str], judge: Judge) -> Scored:
    with Executor(judge.databases) as executor:
        environment = Environment(
            asked, read_schema(judge.databases, "ferry"), executor, DialogueMemory(asked, executor)
        )
        if messages:
            steps = tuple(
                Step(text, ids=(1, 2), observation=environment.step(text).text) for text in messages
            )
            episode = environment.episode(0, (7, 7, 7), steps)
        else:
            episode = replay_gold(environment)
    score = judge.score(asked, final_sql(episode))
    return Scored(asked, episode, score, reward(episode, asked, judge))


def test_gold_played_by_itself_is_right_and_clean(judge):
    found = row_of(played(question(turn=1), [], judge), judge)
    assert found.ex and found.em and found.ex_strict and found.em_strict and not found.reason
    assert (found.exec_calls, found.memory_calls, found.faults, found.messages) == (1, 1, 0, 3)
    assert (found.exec_right, found.memory_right, found.proposals, found.last) == (1, 1, 1, 1.0)
    assert not found.met_error and not found.met_empty and found.causes == ("case",)


def test_trouble_and_repair_are_seen_in_the_log(judge):
    scored = played(
        question(),
        [
            compose(call=("exec_sql", "SELECT title FROM ship")),
            compose(
                verdict=("exec", "no_pass"), call=("exec_sql", "SELECT name FROM ship WHERE flag = 'nor'")
            ),
            compose(verdict=("exec", "pass"), call=("exec_sql", "SELECT DISTINCT flag FROM ship")),
            compose(verdict=("exec", "pass"), call=("exec_sql", GOLD)),
            compose(answer=GOLD),
        ],
        judge,
    )
    found = row_of(scored, judge)
    assert found.ex and found.met_error and found.met_empty
    assert (found.exec_calls, found.proposals) == (4, 3)  # the look at stored values is no proposal
    # no_pass on the error and pass on the look fit, pass on the empty result does not
    assert (found.exec_verdicts, found.exec_right) == (3, 2)
    assert found.first < found.last == 1.0
    assert (found.tokens, found.prompt_tokens) == (10, 3)


def test_an_empty_result_is_no_trouble_where_gold_is_empty_too(judge):
    gold = "SELECT name FROM ship WHERE flag = 'DEN'"
    messages = [compose(call=("exec_sql", gold)), compose(verdict=("exec", "pass"), answer=gold)]
    found = row_of(played(question(gold), messages, judge), judge)
    assert not found.met_empty and (found.exec_verdicts, found.exec_right) == (1, 1)


def test_an_unreadable_call_is_a_fault_and_no_error(judge):
    messages = ["<tool_call>exec_sql</tool_call>", compose(answer="SELECT 1")]
    found = row_of(played(question(), messages, judge), judge)
    assert (found.faults, found.exec_calls, found.met_error) == (1, 0, False)
    assert found.propose is None and not found.ex


def test_a_memory_check_of_wrong_sql_should_not_pass(judge):
    wrong = "SELECT name FROM ship"
    messages = [
        compose(call=("exec_sql", wrong)),
        compose(verdict=("exec", "pass"), call=("memory_retrieve", wrong)),
        compose(verdict=("memory", "pass"), answer=wrong),
    ]
    found = row_of(played(question(turn=1), messages, judge), judge)
    assert (found.memory_calls, found.memory_verdicts, found.memory_right) == (1, 1, 0)


@pytest.mark.parametrize("messages", [[], [compose(call=("exec_sql", "SELECT 1")), "no answer"]])
def test_broken_gold_is_named_whatever_the_answer(judge, messages):
    found = row_of(played(question("SELECT tonnage FROM ship"), messages, judge), judge)
    assert found.status == "gold_failed" and not found.judged and "no such column" in found.reason


def test_a_question_that_could_not_be_put_keeps_its_hardness(judge):
    found = unplayed(question(), "the prompt is too long", judge)
    assert (found.status, found.reason, found.hardness, found.ex) == (
        "unplayed", "the prompt is too long", "easy", False
    )  # fmt: skip
    assert unplayed(question("SELECT x FROM ship"), "too long", judge).status == "gold_failed"


def test_gold_as_published_runs_as_the_metric_runs_it(judge):
    asked = question("SELECT name FROM ship WHERE flag ! = 'SWE'")
    assert row_of(played(asked, [], judge), judge).judged
