"""The judge and the score command: files, the official table, the report's honesty, and the reference
verdicts.
"""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
from harbour import TURNS, harbour_questions, make_database

from mtsql_lib import scoring_workers
from mtsql_lib.errors import KitError
from mtsql_lib.exact_match import COMPONENTS
from mtsql_lib.scoring import Judge, add_arguments, main, score_pairs
from mtsql_lib.scoring_files import pair_files
from mtsql_lib.scoring_table import TurnScore, columns, render
from mtsql_lib.scoring_workers import run_jobs

ROOT = Path(__file__).parent.parent
REFERENCE = Path(os.environ.get("MTSQL_REFERENCE", ROOT.parent / "shared" / "evaluator_reference"))
REAL_DATA = Path(os.environ.get("MTSQL_DATA", REFERENCE.parent / "data"))
TABLES = [
    {
        "db_id": "harbour",
        "table_names_original": ["Port", "Ferry"],
        "column_names_original": [
            *(
                [-1, "*"],
                [0, "Port_ID"],
                [0, "Name"],
                [1, "Ferry_ID"],
                [1, "Name"],
                [1, "Flag"],
                [1, "built"],
            ),
            [1, "home_port_id"],
        ],
        "foreign_keys": [[7, 1]],
    }
]
GOLD = [turn.sql for turn in TURNS]


@pytest.fixture
def folder(tmp_path):
    make_database(tmp_path / "databases")
    (tmp_path / "tables.json").write_text(json.dumps(TABLES))
    return tmp_path


@pytest.fixture
def judge(folder):
    return Judge(folder / "databases", folder / "tables.json")


def write(folder, name, lines, database="\tharbour"):
    text = "\n".join(line + database if line and database else line for line in lines) + "\n"
    (folder / name).write_text(text)
    return folder / name


def score(folder, gold, predicted, *more):
    """Run the command in this process; its report on standard output is read by the caller, the JSON is
    returned.
    """
    parser = ArgumentParser()
    add_arguments(parser)
    files = ["--gold", write(folder, "gold.txt", gold), "--pred", write(folder, "pred.txt", predicted, "")]
    places = ["--db", folder / "databases", "--tables", folder / "tables.json", "--json", folder / "out.json"]
    assert main(parser.parse_args([str(part) for part in (*files, *places, *more)])) == 0
    return json.loads((folder / "out.json").read_text())


# The judge


def test_a_question_and_its_pair_score_alike(judge):
    question = harbour_questions()[1]
    found = judge.score(question, "SELECT Name FROM Ferry WHERE Flag = 'SWE'")
    assert found == judge.score(("harbour", question.gold), "SELECT Name FROM Ferry WHERE Flag = 'SWE'")
    assert (found.ex, found.em, found.ex_strict, found.em_strict) == (False, True, False, False)
    assert (found.hardness, found.parsed, found.status) == ("easy", True, "mismatch")


def test_empty_results_count_strictly_only_for_the_same_query(judge):
    gold = "SELECT Name FROM Ferry WHERE built = 1"
    other = judge.score(("harbour", gold), "SELECT Name FROM Port WHERE Port_ID = 9")
    assert (other.ex, other.ex_strict, other.status) == (True, False, "vacuous")
    same = judge.score(("harbour", gold), "SELECT T1.name FROM Ferry AS T1 WHERE T1.built = 1")
    assert (same.ex, same.ex_strict, same.em_strict) == (True, True, True)


def test_gold_outside_the_grammar_is_scored_by_execution_alone(judge):
    found = judge.score(
        ("harbour", "SELECT upper(Name) FROM Ferry"), "SELECT upper(Name) FROM Ferry ORDER BY 1"
    )
    assert (found.ex, found.ex_strict, found.em, found.hardness) == (True, True, False, "unknown")


def test_value_slots_are_the_scripts_edit_of_predictions(folder, judge):
    gold = "SELECT Name FROM Ferry WHERE Name = 'value'"
    assert judge.score(("harbour", "SELECT 'value'"), "SELECT 'value'").ex
    as_script = Judge(folder / "databases", folder / "tables.json", value_slots=True)
    found = as_script.score(("harbour", "SELECT 'value'"), "SELECT 'value'")
    assert (found.ex, found.ex_strict) == (False, True)
    assert as_script.score(("harbour", gold), gold).em_strict


def test_without_tables_json_the_declared_keys_count(folder):
    gold = "SELECT Port.Port_ID FROM Ferry JOIN Port ON Ferry.home_port_id = Port.Port_ID"
    twin = "SELECT Ferry.home_port_id FROM Ferry JOIN Port ON Ferry.home_port_id = Port.Port_ID"
    assert Judge(folder / "databases").score(("harbour", gold), twin).em


def test_what_is_missing_is_named(folder, judge):
    with pytest.raises(KitError, match="nowhere.sqlite: no such database"):
        judge.score(("nowhere", GOLD[0]), GOLD[0])
    make_database(folder / "databases", "second")
    with pytest.raises(KitError, match="no entry for database 'second'"):
        judge.score(("second", GOLD[0]), GOLD[0])


# Files


def test_sessions_end_at_empty_lines(folder):
    gold = write(folder, "gold.txt", [*GOLD[:2], "", GOLD[2], ""])
    predicted = write(folder, "pred.txt", [GOLD[0] + "\tharbour", GOLD[1], " ", GOLD[2]], "")
    pairing = pair_files(gold, predicted)
    assert [(p.session, p.turn, p.database_id, p.predicted) for p in pairing.pairs] == [
        (0, 0, "harbour", GOLD[0]),
        (0, 1, "harbour", GOLD[1]),
        (1, 0, "harbour", GOLD[2]),
    ]
    assert (pairing.sessions, pairing.notes) == (2, ())


def test_empty_predictions_do_not_shift_the_others(folder):
    gold = write(folder, "gold.txt", [*GOLD, "", *GOLD])
    predicted = write(folder, "pred.txt", [GOLD[0], "", GOLD[2], "", "", *GOLD[1:]], "")
    pairing = pair_files(gold, predicted)
    assert [p.predicted for p in pairing.pairs] == [GOLD[0], "", GOLD[2], "", GOLD[1], GOLD[2]]
    assert "2 predictions are empty" in pairing.notes[0]


def test_unequal_dialogues_are_refused_with_the_place(folder):
    gold = write(folder, "gold.txt", [*GOLD, "", *GOLD, "", GOLD[0]])
    predicted = write(folder, "pred.txt", [*GOLD, "", GOLD[0], ""], "")
    with pytest.raises(
        KitError, match=r"2 dialogues, but .* has 3; they first differ in dialogue 2 \(1 turns"
    ):
        pair_files(gold, predicted)


@pytest.mark.parametrize("line, fields", [("SELECT 1", 1), ("SELECT 1\ta\tb", 3)])
def test_a_malformed_gold_line_is_named(folder, line, fields):
    gold = write(folder, "gold.txt", [GOLD[0] + "\tharbour", line], "")
    with pytest.raises(KitError, match=rf"gold.txt, line 2: .* {fields} field"):
        pair_files(gold, write(folder, "pred.txt", GOLD[:2], ""))


# The command


def test_gold_against_gold_is_perfect(folder, capsys):
    found = score(folder, [*GOLD, "", GOLD[0]], [*GOLD, "", GOLD[0]])
    assert found["totals"]["question_match"] == {
        "count": 4, "exec": 1.0, "exact": 1.0, "exec_strict": 1.0, "exact_strict": 1.0,
    }  # fmt: skip
    assert found["totals"]["interaction_match"]["count"] == 2
    assert found["totals"]["metric"] == "execution accuracy"
    assert found["turns"][3] == {
        "session": 1, "turn": 0, "db": "harbour", "hardness": "easy", "parsed": True,
        "exact": 1, "exec": 1, "exact_strict": 1, "exec_strict": 1, "status": "match",
    }  # fmt: skip
    text = capsys.readouterr().out
    assert (
        "question match (QM), execution accuracy" in text
        and "interaction match (IM), exact set match" in text
    )


def test_both_modes_are_reported_with_the_turns_that_differ(folder, capsys):
    predicted = [
        GOLD[0],
        "SELECT DISTINCT Name FROM Ferry WHERE Flag = 'NOR'",
        GOLD[2].replace("2000", "2001"),
    ]
    found = score(folder, [*GOLD, "", *GOLD], [*predicted, "", *GOLD])
    totals = found["totals"]
    assert totals["differing"] == [[0, 1], [0, 2]]
    assert totals["question_match"]["exact"] == 1 and totals["question_match"][
        "exact_strict"
    ] == pytest.approx(4 / 6)
    official = capsys.readouterr().out
    assert "0/1    exec 1 > 1  exact 1 > 0  harbour (match)" in official
    score(folder, [*GOLD, "", *GOLD], [*predicted, "", *GOLD], "--mode", "strict")
    strict = capsys.readouterr().out
    assert official.splitlines()[6].split()[-2:] == ["1.000", "1.000"]
    assert strict.splitlines()[6].split()[-2:] == ["0.667", "0.500"]


def test_missing_turns_count_as_wrong_and_are_reported(folder, capsys):
    found = score(folder, [*GOLD, "", *GOLD], [GOLD[0], "", *GOLD])
    assert [turn["status"] for turn in found["turns"]][:3] == [
        "match",
        "missing_prediction",
        "missing_prediction",
    ]
    assert found["totals"]["question_match"]["exec"] == pytest.approx(4 / 6)
    assert found["totals"]["interaction_match"]["exec"] == 0.5
    text = capsys.readouterr().out
    assert "1 dialogues lack predictions" in text
    assert "would leave out the 2 turns without a prediction and report exec 1.000, exact 1.000 on 4" in text


def test_surplus_turns_are_reported(folder, capsys):
    score(folder, [GOLD[0], "", *GOLD], [*GOLD, "", *GOLD])
    assert "1 dialogues have more predictions than gold turns" in capsys.readouterr().out


def test_failing_gold_is_reported_and_wrong(folder, capsys):
    gold = [
        "SELECT Name FROM Ferry EXCEPT SELECT T1.Name FROM Ferry AS T1 WHERE T1.Name = T9.Name",
        "SELECT upper(Name) FROM Ferry",
    ]
    broken = "SELECT T1.Name FROM Ferry EXCEPT SELECT T1.Name FROM Ferry AS T1"
    found = score(folder, [broken, gold[1], "", GOLD[0]], [broken, gold[1], "", GOLD[0]])
    assert [(t["status"], t["exact"], t["exec"]) for t in found["turns"]] == [
        ("gold_failed", 1, 0),
        ("match", 0, 1),
        ("match", 1, 1),
    ]
    text = capsys.readouterr().out
    assert (
        "gold fails to run in dialogue 0, turn 0 (harbour, counted from 0): error: no such column: T1.Name"
        in text
    )
    assert "gold is outside Spider's grammar in dialogue 0, turn 1" in text


def test_empty_dialogues_of_gold_are_right_and_reported(folder, capsys):
    found = score(folder, [GOLD[0], "", "", GOLD[1]], ["SELECT 1", "", "", "SELECT 1"])
    assert found["totals"]["interaction_match"]["exec"] == pytest.approx(1 / 3)
    assert "1 dialogues of the gold file have no turns" in capsys.readouterr().out


def test_many_files_make_it_test_suite_accuracy(folder):
    path = folder / "databases" / "harbour" / "harbour.sqlite"
    (path.parent / "harbour_2.sqlite").write_bytes(path.read_bytes())
    assert score(folder, GOLD, GOLD)["totals"]["metric"] == "test-suite accuracy"


def test_the_command_line_says_what_is_wrong_and_exits_2(folder):
    command = [
        sys.executable,
        "-m",
        "mtsql_lib.scoring",
        "--gold",
        "none.txt",
        "--pred",
        "none.txt",
        "--db",
        ".",
    ]
    done = subprocess.run([*command, "--tables", "t.json"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "Traceback" not in done.stderr


# The table


def turn_score(session, turn, hardness, right, components=None):
    components = tuple((dict.fromkeys(COMPONENTS, (0, 0, 0)) | (components or {})).values())
    return TurnScore(session, turn, "x", hardness, True, right, right, right, right, "match", "", components)


def test_columns_average_what_is_there():
    scores = [
        turn_score(0, 0, "easy", True, {"select": (1, 1, 1), "where": (1, 0, 0)}),
        turn_score(0, 5, "hard", False, {"select": (0, 2, 1), "where": (0, 1, 0)}),
        turn_score(1, 0, "easy", True, {"select": (1, 1, 1), "where": (0, 0, 1)}),
    ]
    table = columns(scores, 2)
    assert (table["all"].count, table["all"].exec) == (3, pytest.approx(2 / 3))
    assert (table["joint_all"].count, table["joint_all"].exact) == (2, 0.5)
    assert (table["turn > 4"].count, table["turn > 4"].exec, table["turn 4"].count) == (1, 0.0, 0)
    assert table["all"].partial["select"] == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert table["all"].partial["where"] == (0.0, 0.0, 1.0)  # nothing right on either side prints as 1
    assert table["extra"].partial["where"] == (0.0, 0.0, 0.0)  # but a column without turns as 0


def test_one_dialogue_prints_no_turns():
    scores = [turn_score(0, 0, "easy", True)]
    assert "joint_all" not in render(columns(scores, 1)) and "turn 1" not in render(columns(scores, 1))
    assert "joint_all" in render(columns(scores, 2))


# Workers


def test_jobs_come_back_in_order():
    assert run_jobs(50, lambda job: job * job, workers=3) == [n * n for n in range(50)]


def test_the_job_of_a_worker_that_dies_is_done_by_the_parent():
    parent = os.getpid()

    def work(job):
        if os.getpid() != parent:
            os._exit(9)
        return job

    assert run_jobs(5, work, workers=3) == list(range(5))


def test_an_error_of_a_worker_is_raised_here(monkeypatch):
    parent = os.getpid()
    monkeypatch.setattr(
        scoring_workers, "_take", lambda queue, work: _fail() if os.getpid() != parent else {}
    )
    with pytest.raises(KitError, match="from the worker"):
        run_jobs(5, lambda job: job, workers=2)


def _fail():
    raise KitError("from the worker")


def test_workers_agree_with_one_process(folder):
    make_database(folder / "databases", "second")
    tables = [*TABLES, {**TABLES[0], "db_id": "second"}]
    (folder / "tables.json").write_text(json.dumps(tables))
    lines = [f"{sql}\t{name}" for name in ("harbour", "second") for sql in GOLD]
    pairs = pair_files(write(folder, "g", lines, ""), write(folder, "p", [*GOLD, *reversed(GOLD)], "")).pairs
    judges = [Judge(folder / "databases", folder / "tables.json") for _ in range(2)]
    assert score_pairs(judges[0], pairs, workers=2) == score_pairs(judges[1], pairs, workers=1)


# The official verdicts, where they are at hand


needs_reference = pytest.mark.skipif(
    not (REFERENCE / "scores_per_turn.jsonl").is_file() or not (REAL_DATA / "database").is_dir(),
    reason="no official verdicts with their databases: set MTSQL_REFERENCE and MTSQL_DATA to their folders",
)


@pytest.mark.slow
@needs_reference
def test_every_reference_row():
    rows = [json.loads(line) for line in (REFERENCE / "scores_per_turn.jsonl").open(encoding="utf-8")]
    judge = Judge(REAL_DATA / "database", REAL_DATA / "sparc" / "tables.json", value_slots=True)
    wrong = []
    for row in rows:
        found = judge.score((row["db"], row["gold"]), row["pred"])
        verdicts = (found.hardness, found.parsed, int(found.em), int(found.ex))
        if verdicts != (row["hardness"], row["pred_parsed"], row["exact"], row["exec"]):
            wrong.append((row, found))
    assert not wrong, f"{len(wrong)} of {len(rows)} differ, the first: {wrong[0]}"


_PLAIN = ("limit", "desc", "value", "swapcols", "mix", "distinct", "junk")
RUNS = {name: (f"pred_{name}.txt",) for name in _PLAIN} | {
    "gold": ("gold.txt",),
    "value_plug": ("pred_value.txt", "--plug_value"),
    "distinct_keep": ("pred_distinct.txt", "--keep_distinct"),
}


@pytest.mark.slow
@needs_reference
@pytest.mark.parametrize("name", RUNS)
def test_every_reference_table(name, capsys):
    predicted, *options = RUNS[name]
    parser = ArgumentParser()
    add_arguments(parser)
    files = ["--gold", REFERENCE / "gold.txt", "--pred", REFERENCE / predicted]
    places = ["--db", REAL_DATA / "database", "--tables", REAL_DATA / "sparc" / "tables.json"]
    assert main(parser.parse_args([str(part) for part in (*files, *places, *options)])) == 0
    official = (REFERENCE / f"out_{name}.txt").read_text().splitlines()
    start = next(n for n, line in enumerate(official) if line.split()[:2] == ["easy", "medium"])
    table = official[start:]
    assert capsys.readouterr().out.splitlines()[: len(table)] == table
