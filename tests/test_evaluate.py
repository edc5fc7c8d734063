"""`evaluate` on a folder of two dialogues; the model is played by a script."""

import argparse
import json
import sqlite3
from types import SimpleNamespace

import pytest

from mtsql_lib import evaluate as command
from mtsql_lib.errors import KitError
from mtsql_lib.play import Setting


@pytest.fixture
def corpus(tmp_path):
    database = tmp_path / "databases" / "ferry"
    database.mkdir(parents=True)
    with sqlite3.connect(database / "ferry.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE ship (name TEXT, built INTEGER); INSERT INTO ship VALUES ('A', 1990)"
        )
    connection.close()
    asked = ["SELECT count(*) FROM ship", "SELECT name FROM ship"], ["SELECT name FROM boat"]
    dialogues = [
        {"database_id": "ferry", "interaction": [{"utterance": "?", "query": sql} for sql in sqls]}
        for sqls in asked
    ]
    (tmp_path / "dev.json").write_text(json.dumps(dialogues))
    return tmp_path


def arguments(corpus, **changes) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    given = {"data": corpus, "databases": corpus / "databases", "model": "gold", "out": corpus / "out.json"}
    return parser.parse_args([w for k, v in {**given, **changes}.items() for w in (f"--{k}", str(v))])


def test_gold_is_right_wherever_it_runs_and_the_broken_query_is_named(corpus, capsys):
    assert command.main(arguments(corpus)) == 0
    found = json.loads((corpus / "out.json").read_text())
    assert (found["questions"], found["executed"], found["ex"], found["em"]) == (3, 2, 100, 100)
    assert found["qm"] == found["im"] == {"exec": 100, "exact": 100}
    (failed,) = found["failed"]
    assert failed["turn"] == 0 and failed["dialogue"].endswith("1") and "no such table" in failed["reason"]
    assert "3 questions, 2 with a gold query that runs" in capsys.readouterr().out


def test_limit_takes_whole_dialogues(corpus):
    command.main(arguments(corpus, limit=1))
    assert json.loads((corpus / "out.json").read_text())["questions"] == 2


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"databases": "nowhere"}, "no folder of databases"),
        ({"data": "nowhere"}, "nowhere"),
        ({"out": "nowhere/at/all.json"}, "cannot write"),
        ({"profile": "huge"}, "huge"),
        ({"model": "nowhere"}, "nowhere"),
    ],
)
def test_input_that_cannot_be_used_is_one_sentence_and_writes_nothing(corpus, changes, words):
    with pytest.raises(KitError, match=words) as fault:
        command.main(arguments(corpus, **changes))
    assert "\n" not in str(fault.value) and not (corpus / "out.json").exists()


def test_a_missing_database_is_named(corpus):
    (corpus / "databases" / "ferry" / "ferry.sqlite").unlink()
    with pytest.raises(KitError, match="ferry"):
        command.main(arguments(corpus))


class Scripted:
    """A player that answers every question alike; its model has few positions."""

    def __init__(self, table, path):
        self.table, self.asked = table, []
        self.codec = SimpleNamespace(encode=lambda text: list(text))
        config = SimpleNamespace(
            max_position_embeddings=table.profile.rollout.max_episode_tokens + Scripted.room
        )
        self.engine = SimpleNamespace(model=SimpleNamespace(config=config))

    def play(self, asked, setting, seed, progress=None):
        self.asked += asked
        episodes = []
        for question in asked:
            environment = self.table.environment(question, Setting())
            environment.step("<answer_sql>SELECT count(*) FROM ship</answer_sql>")
            episodes.append(self.table.scored(question, environment.episode(0, (), ())))
        return episodes


@pytest.mark.parametrize(("room", "refused"), [(100_000, 0), (0, 3)])
def test_a_prompt_that_does_not_fit_is_refused_with_its_reason(corpus, monkeypatch, room, refused):
    monkeypatch.setattr(command, "Player", Scripted)
    monkeypatch.setattr(command, "_progress", lambda model: None)
    Scripted.room = room
    command.main(arguments(corpus, model="tiny"))
    found = json.loads((corpus / "out.json").read_text())
    assert found["executed"] == 2 and found["ex"] == (0 if refused else 50)
    long = [f for f in found["failed"] if "positions" in f["reason"]]
    assert len(long) == max(refused - 1, 0)  # of the third, the broken gold query is told
    assert len(found["failed"]) == (3 if refused else 1)
