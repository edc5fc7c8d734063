"""The memory returns every earlier turn in order, with the SQL of the history that it was given."""

import pytest
from harbour import TURNS, harbour_questions, make_database

from mtsql_lib.executor import Executor
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.schema import fold_names

LINE = "{number}|{question}|{sql}|{clauses}|{result}"


@pytest.fixture
def executor(tmp_path):
    with Executor(make_database(tmp_path)) as executor:
        yield executor


def test_gold_history_holds_the_reference_sql_and_its_results(executor):
    memory = DialogueMemory(harbour_questions()[2], executor)
    assert [(e.utterance, e.sql) for e in memory.entries] == [(t.utterance, t.sql) for t in TURNS[:2]]
    assert [e.outcome.rows for e in memory.entries] == [((2,),), (("Nordlys",), ("Ternen",))]
    assert len(memory) == 2


def test_predicted_history_holds_what_was_given_and_no_result_for_an_empty_prediction(executor):
    memory = DialogueMemory(harbour_questions()[2], executor, ["SELECT 7", ""])
    assert [e.sql for e in memory.entries] == ["SELECT 7", ""]
    assert memory.entries[0].outcome.rows == ((7,),) and memory.entries[1].outcome is None


def test_one_sql_for_each_earlier_turn(executor):
    with pytest.raises(ValueError, match="d/2 has 2 earlier turns, 1 SQL texts given"):
        DialogueMemory(harbour_questions()[2], executor, ["SELECT 1"])


def test_rendering_fills_every_field_in_order(executor):
    memory = DialogueMemory(harbour_questions()[1], executor)
    text = memory.render(LINE, lambda o: str(len(o.rows)), lambda sql: "clauses", fold_names)
    assert text == f"1|{TURNS[0].utterance}|SELECT count(*) FROM ferry WHERE flag = 'NOR'|clauses|1"


def test_braces_in_data_are_data(executor):
    memory = DialogueMemory(harbour_questions()[1], executor, ["SELECT '{result} {0}'"])
    assert memory.render("{sql} {result}", lambda o: "{x}", lambda sql: "") == "SELECT '{result} {0}' {x}"


def test_a_first_turn_remembers_nothing(executor):
    memory = DialogueMemory(harbour_questions()[0], executor)
    assert memory.entries == () and not memory and memory.render(LINE, str, str) == ""


def test_nothing_is_run_before_it_is_asked_for():
    memory = DialogueMemory(harbour_questions()[2], executor=None)
    assert "what are their names?" in repr(memory)
    with pytest.raises(AttributeError):
        _ = memory.entries
