"""Playing without a model: hand-played and gold episodes, whole dialogues, and the corpora's own gold."""

from pathlib import Path

import pytest

from mtsql_lib.config import Profile
from mtsql_lib.play import Setting, Table, act, corpus_questions, replay_gold, whole_dialogues
from mtsql_lib.protocol import compose
from mtsql_lib.records import from_row, to_row

DATA = Path(__file__).parent.parent / "data"


@pytest.fixture(scope="module")
def table():
    return Table(Profile.load("smoke"), DATA / "database", DATA / "steps" / "tables.json")


@pytest.fixture(scope="module")
def asked():
    return corpus_questions(DATA / "steps", "dev")


def test_gold_replayed_scores_everything(table, asked):
    for question in asked[:25]:
        scored = table.scored(question, replay_gold(table.environment(question, Setting())))
        assert scored.score.ex and scored.score.em and scored.episode.stop == "answer"
        assert scored.episode.interactions == 1 + bool(question.history)


def test_an_episode_by_hand_ends_where_it_ends(table, asked):
    question = asked[0]
    episode = act(
        table.environment(question, Setting()), [compose(call=("exec_sql", question.gold)), "no answer"]
    )
    assert episode.stop == "no_answer" and episode.answer is None
    assert not table.scored(question, episode).score.ex


def test_rows_of_the_store_give_the_episode_back(table, asked):
    scored = table.scored(asked[1], replay_gold(table.environment(asked[1], Setting())))
    again = from_row(to_row("stage", scored), asked[1])
    assert (again.score.ex, again.score.em, again.reward) == (scored.score.ex, scored.score.em, scored.reward)
    assert again.episode.to_json() == scored.episode.to_json()


def test_dialogues_are_never_cut(asked):
    chosen = whole_dialogues(asked, 10)
    names = {q.dialogue_id for q in chosen}
    assert len(chosen) >= 10 and [q for q in asked if q.dialogue_id in names] == chosen
    assert whole_dialogues(asked, 0) == asked
