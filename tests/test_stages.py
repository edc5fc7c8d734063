"""All training stages of a run in order, with episodes from a script in place of a model's: what they leave
behind, that they are skipped the second time, and that every arm trains.
"""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from toy_model import make_base

from mtsql_lib.arms import ARMS
from mtsql_lib.claims import complete, findings_of, sheet_of
from mtsql_lib.errors import KitError
from mtsql_lib.play import Player, act
from mtsql_lib.protocol import compose
from mtsql_lib.reinforcement import branch_step, measure_difficulty, reinforce
from mtsql_lib.run import corpus_hash, open_run
from mtsql_lib.store import read_json, sha256_folder
from mtsql_lib.systems import evaluate
from mtsql_lib.warm_start import kept_episodes, sample_round, short_horizon, successes, warm_start

SMALL = {
    "threads": 1,
    "sampling": {"rounds": 3, "questions": 8, "samples": 2},
    "curriculum": {"questions": 8, "samples": 2, "bins": 2},
    "rl": {"steps_per_bin": [1, 1], "prompts_per_step": 2, "group_size": 2, "save_every": 1, "held_out": 1},
    "evaluation": {"questions": 3},
}


def scripted(player, batch, setting, seed):
    """Right in every second sample, and in every question's direct answer."""
    done = []
    for question, sqls, sample in batch:
        environment = player.table.environment(question, setting, sqls)
        sql = question.gold if sample % 2 == 0 else "SELECT 1"
        messages = [compose(answer=sql)]
        if setting.mode == "agent":
            messages = [compose(call=("exec_sql", sql)), compose(verdict=("exec", "pass"), answer=sql)]
        episode = act(environment, messages, player.codec)
        done.append(player.table.scored(question, replace(episode, sample=sample)))
    return done


@pytest.fixture(scope="module")
def patched():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Player, "_play_batch", scripted)
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory, patched):
    folder = tmp_path_factory.mktemp("stages")
    base = make_base(folder / "base")
    overrides = SMALL | {"model": {"path": str(base)}}
    return open_run("smoke", 1, str(folder / "run"), json.dumps(overrides))


def test_the_warm_start_keeps_what_is_right_and_drops_what_is_solved(run):
    first = sample_round(run, 1)
    assert (first.questions, first.episodes, first.valid, first.covered) == (8, 16, 8, 8)
    assert len(kept_episodes(run, 1)) == first.kept == 8
    assert set(successes(run, 1).values()) == {1}
    manifest = read_json(run.folder / "sample_1" / "manifest.json")
    assert manifest["counts"]["pool_left"] == len(run.pool) - 8
    model = warm_start(run, 1)
    assert sha256_folder(model) != sha256_folder(run.checkpoint("base"))
    second = sample_round(run, 2)
    assert not set(successes(run, 1)) & set(successes(run, 2)) and second.covered == 8
    warm_start(run, 2)
    sample_round(run, 3)
    warm_start(run, 3)
    counts = read_json(run.folder / "sft_2" / "manifest.json")["counts"]
    assert counts["trajectories"] == first.kept + second.kept
    short_horizon(run)


def test_every_arm_trains_as_many_updates_and_its_branch_leaves_the_outcome_arm(run):
    assert [len(part.questions) for part in measure_difficulty(run)] == [4, 4]
    for name, arm in ARMS.items():
        reinforce(run, name)
        steps = [step for step, _ in run.store.metrics(name, "reward")]
        assert steps == list(range(branch_step(run) + 1 if arm.branch else 1, 3))
        chosen = read_json(run.folder / name / "chosen.json")
        first = branch_step(run) if arm.branch else 0
        assert len(chosen["scores"]) == len(steps)
        assert first + int(chosen["checkpoint"].removeprefix("step-")) > branch_step(run)
    (_, plain), (_, dense) = (run.store.metrics(name, "reward")[-1] for name in ("rl_outcome", "rl_process"))
    assert plain == 1.0 < dense  # half of the episodes are right, EX + EM = 2
    tools = {json.loads(row["episode"])["mode"] for row in run.store.episodes("rl_short/0000")}
    assert tools == {"direct"}


def test_a_finished_stage_is_not_done_again(run, monkeypatch):
    def refuse(*_):
        raise AssertionError("played again")

    before = {name: sha256_folder(run.checkpoint(name)) for name in ("sft_2", "rl_outcome", "rl_process")}
    monkeypatch.setattr(Player, "_play_batch", refuse)
    sample_round(run, 1), warm_start(run, 1), sample_round(run, 2), warm_start(run, 2)
    measure_difficulty(run)
    for name in ("rl_outcome", "rl_process"):
        reinforce(run, name)
    assert {name: sha256_folder(run.checkpoint(name)) for name in before} == before


def test_the_claims_find_every_system(run, tmp_path):
    plain = {"sampling": SMALL["sampling"] | {"by_difficulty": False}}
    model = {"model": {"path": str(run.checkpoint("base"))}}
    other = open_run("smoke", 1, str(tmp_path / "plain"), json.dumps(SMALL | model | plain))
    complete(run, other)
    sheet = sheet_of([(run, other)])
    asked = len(evaluate(run, "direct", "steps"))
    assert sum(sheet.home) == asked and len(sheet.home) == len(sheet.questions) > asked
    findings = {f.claim.id: f for f in findings_of([(run, other)])}
    assert findings["T2"].interval.estimate == 0.0 and findings["T2"].verdict == "one seed"
    assert findings["T8"].verdict == "not run"  # the script meets no trouble


def test_a_base_that_solves_nothing_is_told_so(run, tmp_path, monkeypatch):
    def nothing(player, batch, setting, seed):
        return scripted(player, [(q, sqls, 2 * sample + 1) for q, sqls, sample in batch], setting, seed)

    monkeypatch.setattr(Player, "_play_batch", nothing)
    overrides = SMALL | {"model": {"path": str(run.checkpoint("base"))}}
    lost = open_run("smoke", 1, str(Path(tmp_path) / "lost"), json.dumps(overrides))
    sample_round(lost, 1)
    with pytest.raises(KitError, match="no trajectory was kept"):
        warm_start(lost, 1)


def test_public_corpora_are_hashed_in_their_published_layout(run, tmp_path):
    corpus = tmp_path / "cosql" / "sql_state_tracking"
    corpus.mkdir(parents=True)
    for split in ("train", "dev"):
        (corpus / f"cosql_{split}.json").write_text("[]")
    data = {"corpora": str(tmp_path), "train": "cosql", "test": ["cosql"]}
    public = open_run("smoke", 1, str(tmp_path / "run"), json.dumps(SMALL | {"data": data}))
    before = corpus_hash(public, "cosql", "dev")
    assert before != corpus_hash(run) and before == corpus_hash(public)  # both files are empty lists
    (corpus / "cosql_dev.json").write_text("[ ]")
    assert corpus_hash(public, "cosql", "dev") != before
