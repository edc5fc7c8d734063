"""A report from a fabricated run: three systems, two corpora of twelve dialogues, answers right by a rule."""

import json
import sqlite3

import pytest

from mtsql_lib.config import Profile
from mtsql_lib.document import Grid, Picture, Section, html, markdown
from mtsql_lib.errors import KitError
from mtsql_lib.play import Setting, corpus_questions
from mtsql_lib.protocol import compose
from mtsql_lib.records import to_row
from mtsql_lib.report import write_report
from mtsql_lib.results import PLANNED, SYSTEMS, read_results
from mtsql_lib.run import Run
from mtsql_lib.store import stage
from mtsql_lib.systems import SYSTEMS as PLAYED

GOLD = "SELECT name FROM ship WHERE built > {}"
DIALOGUES = 12


def corpus(folder):
    folder.mkdir()
    dialogues = [
        {
            "database_id": "ferry",
            "interaction": [
                {"utterance": f"after {year}?", "query": GOLD.format(year), "causes": ["case"][: year % 2]}
                for year in (1900 + n, 1950 + n)
            ],
        }
        for n in range(DIALOGUES)
    ]
    (folder / "dev.json").write_text(json.dumps(dialogues))
    columns = {"column_names_original": [[-1, "*"], [0, "name"], [0, "built"]], "foreign_keys": []}
    entry = {"db_id": "ferry", "table_names_original": ["ship"], "primary_keys": [], **columns}
    (folder / "tables.json").write_text(json.dumps([entry]))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    root = tmp_path_factory.mktemp("kit")
    (root / "database" / "ferry").mkdir(parents=True)
    with sqlite3.connect(root / "database" / "ferry" / "ferry.sqlite") as connection:
        connection.executescript(
            "CREATE TABLE ship (name TEXT, built INTEGER); INSERT INTO ship VALUES ('A', 1990), ('B', 1991)"
        )
    connection.close()
    for name in ("steps", "talk"):
        corpus(root / name)
    places = {"data.corpora": str(root), "data.databases": str(root / "database"), "evaluation.questions": 0}
    run = Run(
        Profile.load("smoke", **places, **{"data.train": "steps", "data.test": ["steps", "talk"]}),
        root / "run",
    )
    for name, right in RIGHT.items():
        for test in ("steps", "talk"):
            play(run, name, test, right)
    run.store.add_metrics("sft_1", 1, {"loss": 2.0})
    run.store.add_metrics("sft_1", 2, {"loss": 1.0})
    return run


# Which questions a system answers right; the process arm loses one that the outcome arm has.
RIGHT = {
    "untrained": lambda q: False,
    "round3": lambda q: q.turn == 0,
    "rl_outcome": lambda q: True,
    "rl_process": lambda q: not (q.turn == 1 and q.dialogue_id.endswith("3")),
}


def play(run, system, test, right):
    """Meets an error first on second turns, then answers."""
    table = run.table(test)
    asked = corpus_questions(run.folder.parent / test, "dev")
    with stage(run.folder, f"eval_{system}/{test}", inputs={}, config={}, seed=1) as current:
        for question in asked:
            environment = table.environment(question, Setting())
            sql = question.gold if right(question) else "SELECT built FROM ship"
            if question.turn:
                environment.step(compose(call=("exec_sql", "SELECT tonnage FROM ship")))
            environment.step(compose(verdict=("exec", "no_pass"), answer=sql))
            run.store.add_episodes(
                [to_row(current.name, table.scored(question, environment.episode(0, (), ())))]
            )


@pytest.fixture(scope="module")
def report(run):
    return {kind: path.read_text(encoding="utf-8") for kind, path in write_report(run).items()}


def test_the_table_has_a_row_for_every_system_and_says_what_was_not_run(report):
    found = json.loads(report["json"])
    assert len(found["systems"]) == 2 * len(RIGHT)
    assert "direct/steps" in found["missing"] and len(found["missing"]) == 2 * (len(SYSTEMS) - len(RIGHT))
    (steps,) = (s for s in found["systems"] if (s["system"], s["corpus"]) == ("round3", "steps"))
    assert steps["domain"] == "in domain" and steps["ex"]["question"]["estimate"] == 50
    assert steps["ex"]["interaction"]["estimate"] == 0
    assert "| Direct prompting | not run | not run |" in report["markdown"]
    assert "| Warm start, round 3 | 50.0 [50.0, 50.0] |" in report["markdown"]
    assert "72.8 / 65.7" in report["markdown"]  # trained and tested on the goal-driven corpus


def test_claims_are_shown_or_not_shown_by_their_intervals(report):
    claims = {(c["id"], c["corpus"]): c for c in json.loads(report["json"])["claims"]}
    assert claims["warm_start", "steps"]["verdict"] == "shown"
    assert claims["warm_start", "steps"]["interval"]["estimate"] == 50
    process = claims["process", "talk"]  # one question of 24 is lost: the interval contains 0
    assert process["interval"]["low"] < 0 <= process["interval"]["high"]
    assert process["verdict"] == "not shown"
    assert claims["long_horizon", "steps"]["verdict"] == "not run"
    recovered = claims["recovery", "steps"]
    assert recovered["second"] == pytest.approx(100 * 11 / 12) and recovered["verdict"] == "shown"
    line = next(
        row for row in report["markdown"].splitlines() if "Outcome + process beats" in row and "talk" in row
    )
    assert line.endswith("| not shown |")


def test_it_names_scoring_mode_databases_and_cost(report):
    assert "Answers are read as in the paper" in report["markdown"]
    assert "execution accuracy on `" in report["markdown"]
    found = json.loads(report["json"])
    assert found["scoring"]["databases"]["databases"] == 1
    costs = {s["name"]: s for s in found["stages"]}
    assert costs["eval_round3/steps"]["episodes"] == 2 * DIALOGUES


def test_the_html_stands_alone(report):
    assert report["html"].count("<svg") >= 5 and "http-equiv" not in report["html"]
    assert 'src="' not in report["html"] and "<link" not in report["html"]


def test_the_same_run_gives_the_same_bytes(run, report):
    again = {kind: path.read_text(encoding="utf-8") for kind, path in write_report(run).items()}
    assert again == report


def test_a_question_without_an_episode_is_counted_as_failed(run):
    kept = list(run.store.db["episodes"].rows_where("stage = 'eval_round3/talk' and turn = 0", limit=1))
    run.store.db["episodes"].delete(("eval_round3/talk", kept[0]["question_id"], 0))
    try:
        rows = read_results(run).systems["round3", "talk"]
        assert len(rows) == 2 * DIALOGUES
        assert [r.question_id for r in rows if r.reason] == [kept[0]["question_id"]]
    finally:
        run.store.add_episodes(kept)


def test_no_run_is_one_sentence(run, tmp_path):
    with pytest.raises(KitError, match="make reproduce"):
        write_report(Run(run.profile, tmp_path / "nothing"))
    assert not (tmp_path / "nothing").exists()


def test_the_systems_are_those_that_the_stages_play():
    assert list(SYSTEMS) == list(PLAYED)
    assert {n for p in PLANNED for n in (p.first, p.second) if n} <= SYSTEMS.keys()


def test_a_document_escapes_what_it_is_given():
    parts = [Grid(("a|b", "<x>"), [("`c`", "1 < 2")], note="n"), Picture("<svg/>", "says"), "plain & simple"]
    page, text = html("T", [Section("S", parts)]), markdown("T", [Section("S", parts)])
    assert "&lt;x&gt;" in page and "<code>c</code>" in page and "1 &lt; 2" in page and "<svg/>" in page
    assert "a\\|b" in text and "| `c` | 1 < 2 |" in text and "says" not in text
