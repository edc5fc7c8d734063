"""The run's store and its stages: idempotent, resumed after a kill, skipped when done, undone when stale."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest

from mtsql_lib.errors import KitError
from mtsql_lib.store import (
    RunStore,
    atomic_write,
    clear_faults,
    is_intact,
    kit_hash,
    read_manifest,
    sha256_file,
    sha256_folder,
    sha256_of,
    stage,
)


def row(question, sample=0, name="sample_1", **more):
    return {"stage": name, "question_id": question, "sample": sample, "ids": "[1]", "mask": "[1]", **more}


@pytest.fixture
def store(tmp_path):
    store = RunStore(tmp_path / "run" / "run.db")
    yield store
    store.close()


def run_stage(run, work=None, inputs=None, config=None, seed=1, name="sft_1"):
    """One pass through a stage that writes `weights`; returns it after the block."""
    with stage(run, name, inputs=inputs or {"pool": "a"}, config=config or {"lr": 1}, seed=seed) as current:
        if not current.fresh:
            atomic_write(current.folder / "weights", "w")
            if work:
                work(current)
            current.counts["trajectories"] = 3
            current.produced(current.folder)
    return current


# --- episodes and metrics ---


def test_the_same_episode_twice_is_stored_once_and_the_later_one_stays(store):
    store.add_episodes([row("a", 1), row("a", 0), row("b", 0, ex=0)])
    store.add_episodes([row("b", 0, ex=1)])
    assert [(r["question_id"], r["sample"], r["ex"]) for r in store.episodes("sample_1")] == [
        ("a", 0, None),
        ("a", 1, None),
        ("b", 0, 1),
    ]


def test_metrics_are_a_curve_and_a_step_is_replaced(store):
    for step, loss in ((2, 0.5), (1, 0.9), (2, 0.4)):
        store.add_metrics("sft_1", step, {"loss": loss, "grad": 1.0})
    assert store.metrics("sft_1", "loss") == [(1, 0.9), (2, 0.4)]


def test_a_batch_is_stored_whole_or_not_at_all(store):
    def broken():
        yield row("a")
        raise RuntimeError("the engine stopped")

    with pytest.raises(RuntimeError):
        store.add_episodes(broken())
    assert list(store.episodes("sample_1")) == []


def test_a_stage_owns_the_rows_of_its_parts_and_no_others(store):
    store.add_episodes([row("a", name=name) for name in ("rl", "rl/0001", "rl_process", "r_")])
    store.add_metrics("rl", 1, {"loss": 1.0})
    whole = store.digest("rl")
    store.forget("rl/0001")
    assert store.digest("rl") not in (whole, "")
    store.forget("rl")
    assert (store.digest("rl"), store.metrics("rl", "loss")) == ("", [])
    assert store.digest("rl_process") and store.digest("r_")


def test_the_digest_does_not_depend_on_the_order_of_arrival_but_on_every_id(tmp_path):
    digests = set()
    for n, rows in enumerate(([row("a"), row("b")], [row("b"), row("a")], [row("a"), row("b", ids="[2]")])):
        one = RunStore(tmp_path / f"{n}.db")
        one.add_episodes(rows)
        digests.add(one.digest("sample_1"))
        one.close()
    assert len(digests) == 2


def test_the_file_answers_the_sqlite_utils_command(store):
    store.add_episodes([row("a", ex=1), row("b", ex=0)])
    store.close()
    query = "select stage, count(*) n, avg(ex) ex from episodes group by stage"
    command = [str(Path(sys.executable).with_name("sqlite-utils")), str(store.path), query]
    answer = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    assert answer == [{"stage": "sample_1", "n": 2, "ex": 0.5}]


# --- stages ---


def test_a_finished_stage_is_fresh_and_says_so(tmp_path, capsys):
    first = run_stage(tmp_path)
    assert not first.fresh and first.outputs == {"sft_1/weights": sha256_file(tmp_path / "sft_1/weights")}
    second = run_stage(tmp_path, work=lambda _: pytest.fail("the work was done again"))
    assert second.fresh and second.manifest == first.manifest
    assert "sft_1: done already" in capsys.readouterr().out
    assert not list(tmp_path.rglob("begun.json"))


def test_the_manifest_names_everything_that_made_the_stage(tmp_path):
    manifest = read_manifest(tmp_path, run_stage(tmp_path).name)
    assert (manifest["inputs"], manifest["config"], manifest["seed"]) == ({"pool": "a"}, {"lr": 1}, 1)
    assert manifest["counts"] == {"trajectories": 3} and manifest["kit"] == kit_hash()
    assert {"python", "sqlite", "torch", "transformers", "trl"} <= manifest["versions"].keys()
    assert manifest["seconds"] >= 0 and 10 < manifest["peak_mb"] < 100_000 and "commit" in manifest


@pytest.mark.parametrize("change", [{"inputs": {"pool": "b"}}, {"config": {"lr": 2}}, {"seed": 2}])
def test_a_changed_input_setting_or_seed_starts_from_nothing(tmp_path, change):
    def leave(current):
        RunStore(tmp_path / "run.db").add_episodes([row("a", name="sft_1"), row("a", name="sft_1/0001")])
        atomic_write(current.folder / "half.bin", "old")

    run_stage(tmp_path, leave)
    seen = []
    again = run_stage(tmp_path, lambda current: seen.extend(os.listdir(current.folder)), **change)
    assert not again.fresh and not again.resumed and sorted(seen) == ["begun.json", "weights"]
    assert again.manifest["episodes"] == ""


@pytest.mark.parametrize("harm", ["altered", "missing", "rows"])
def test_a_stage_whose_outputs_were_touched_is_done_again(tmp_path, harm):
    def play(_):
        RunStore(tmp_path / "run.db").add_episodes([row("a", name="sft_1")])

    first = run_stage(tmp_path, play)
    if harm == "altered":
        (tmp_path / "sft_1/weights").write_text("v")
    elif harm == "missing":
        (tmp_path / "sft_1/weights").unlink()
    else:
        RunStore(tmp_path / "run.db").add_episodes([row("a", name="sft_1", ids="[9]")])
    assert not is_intact(tmp_path, first.manifest)
    second = run_stage(tmp_path, play)
    assert not second.fresh and not second.resumed
    assert second.manifest["episodes"] == first.manifest["episodes"] != ""


def test_an_error_in_the_block_leaves_no_manifest_and_what_was_kept_is_there_for_the_next_attempt(tmp_path):
    def fail(current):
        atomic_write(current.folder / "checkpoint", "c")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        run_stage(tmp_path, fail)
    assert read_manifest(tmp_path, "sft_1") == {}
    seen = []
    again = run_stage(tmp_path, lambda current: seen.append((current.folder / "checkpoint").read_text()))
    assert again.resumed and seen == ["c"] and again.manifest["resumed"]


def test_a_manifest_that_cannot_be_read_counts_as_none(tmp_path):
    run_stage(tmp_path)
    for text in ("", "{", "[]", '{"key": "x"}', "\x00"):
        (tmp_path / "sft_1/manifest.json").write_text(text)
        assert read_manifest(tmp_path, "sft_1") == {}


# --- killed, full, forbidden ---

ENDLESS = """
import sys
from mtsql_lib.store import RunStore, stage
from tests.test_store import row
with stage(sys.argv[1], "sample_1", inputs={}, config={}, seed=1) as current:
    store = RunStore(sys.argv[1] + "/run.db")
    done = {r["question_id"] for r in store.episodes("sample_1")}
    print(len(done), flush=True)
    for n in range(0, int(sys.argv[2]), 5):
        if f"q{n}" not in done:
            store.add_episodes(row(f"q{n + i}", log="x" * 5000) for i in range(5))
            print("batch", flush=True)
"""


def play_in_a_process(folder, questions, **kind):
    command = [sys.executable, "-c", ENDLESS, str(folder), str(questions)]
    root = Path(__file__).parent.parent
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True, **kind)


@pytest.mark.slow
def test_killed_while_it_appends_a_stage_goes_on_and_ends_with_the_same_hash(tmp_path):
    killed = play_in_a_process(tmp_path / "killed", 10**9)
    assert [killed.stdout.readline() for _ in range(11)] == ["0\n"] + ["batch\n"] * 10
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    left = stored(tmp_path / "killed")
    assert left >= 50 and left % 5 == 0 and read_manifest(tmp_path / "killed", "sample_1") == {}
    found, _ = play_in_a_process(tmp_path / "killed", left + 100).communicate()
    play_in_a_process(tmp_path / "whole", left + 100).communicate()
    resumed, whole = (read_manifest(tmp_path / name, "sample_1") for name in ("killed", "whole"))
    assert int(found.split()[0]) == left and resumed["resumed"] and not whole["resumed"]
    assert resumed["episodes"] == whole["episodes"] != ""


def stored(folder):
    with closing(sqlite3.connect(folder / "run.db")) as connection:
        return connection.execute("select count(*) from episodes").fetchone()[0]


def refused(act):
    with pytest.raises(KitError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_in_the_way_of_the_run_folder_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    assert "cannot write" in refused(lambda: RunStore(tmp_path / "run" / "run.db"))
    assert "stands where a folder is needed" in refused(lambda: run_stage(tmp_path / "run"))
    assert "cannot write" in refused(lambda: atomic_write(tmp_path / "run" / "table.md", "text"))


@pytest.fixture
def locked_folder():
    """A folder that the test may not write; root lays down its rights for the while."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        yield Path(folder)
        if root:
            os.seteuid(0)
        os.chmod(folder, 0o755)


def test_no_permission_is_one_sentence_and_nothing_is_left(store, locked_folder):
    assert "no permission" in refused(lambda: RunStore(locked_folder / "run" / "run.db"))
    assert "cannot be opened" in refused(lambda: RunStore(locked_folder / "run.db"))
    assert "no permission" in refused(lambda: atomic_write(locked_folder / "table.md", "text"))
    assert "no permission" in refused(lambda: run_stage(locked_folder))
    assert os.listdir(locked_folder) == []


def test_a_full_disk_is_one_sentence_and_the_old_file_stays(tmp_path, monkeypatch):
    atomic_write(tmp_path / "table.md", "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert "the disk is full" in refused(lambda: atomic_write(tmp_path / "table.md", "new"))
    assert os.listdir(tmp_path) == ["table.md"] and (tmp_path / "table.md").read_text() == "old"


def test_a_full_disk_within_a_stage_is_one_sentence_and_the_stage_is_not_done(tmp_path, store):
    def full(_):
        store.db.execute(f"pragma max_page_count = {store.db.execute('pragma page_count').fetchone()[0]}")
        store.add_episodes(row(f"q{n}", log="x" * 9000) for n in range(50))

    assert "the disk is full" in refused(lambda: run_stage(store.path.parent, full))
    assert list(store.episodes("sample_1")) == [] and read_manifest(store.path.parent, "sft_1") == {}


def test_a_damaged_store_is_named(tmp_path):
    (tmp_path / "run.db").write_bytes(b"no database at all, only text " * 100)
    message = refused(lambda: RunStore(tmp_path / "run.db"))
    assert str(tmp_path / "run.db") in message and "damaged" in message


def test_a_mistake_of_the_code_keeps_its_own_exception(tmp_path, store):
    with pytest.raises(sqlite3.OperationalError, match="no such table"), clear_faults(tmp_path):
        store.db.conn.execute("select * from nowhere")
    with pytest.raises(FileNotFoundError), clear_faults(tmp_path):
        (tmp_path / "nothing").read_text()


# --- hashes ---


def test_hashes_see_names_and_bytes(tmp_path):
    for name in ("a", "b", "c"):
        atomic_write(tmp_path / name / "sub" / "x", "same")
    atomic_write(tmp_path / "b" / "sub" / "x", "other")
    (tmp_path / "c" / "sub" / "x").rename(tmp_path / "c" / "sub" / "y")
    assert len({sha256_folder(tmp_path / name) for name in ("a", "b", "c")}) == 3
    assert sha256_of({"a": 1, "b": 2}) == sha256_of({"b": 2, "a": 1}) != sha256_of({"a": 2, "b": 1})
    assert "is missing" in refused(lambda: sha256_file(tmp_path / "z"))
    assert "is missing" in refused(lambda: sha256_folder(tmp_path / "z"))
