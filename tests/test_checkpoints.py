"""The folder of a training run: half-written things are cleared away, whole ones are found."""

import json

import pytest

from mtsql_lib.checkpoints import RunFolder, copy_tokenizer, fingerprint
from mtsql_lib.errors import KitError


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    for name, text in {
        "config.json": "{}",
        "model.safetensors": "weights",
        "tokenizer.json": "{}",
        "tokenizer_config.json": '{"spelled": true}',
        "README.md": "card",
        "log.jsonl": "",
        "training.json": "{}",
    }.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def run(base, tmp_path):
    return RunFolder(tmp_path / "out", base)


def checkpoint(run, step, whole=True):
    (run.resume / f"checkpoint-{step}").mkdir(parents=True)
    if whole:
        run.mark_whole(step)


def write_model(folder):
    folder.mkdir()
    for name in (
        "config.json",
        "model.safetensors",
        "training_args.bin",
        "tokenizer_config.json",
        "README.md",
    ):
        (folder / name).write_text("{}")


def test_the_latest_whole_checkpoint_is_taken_and_halves_are_cleared(run):
    assert run.begin(["data"]) is None
    checkpoint(run, 9)
    checkpoint(run, 10)
    checkpoint(run, 11, whole=False)
    (run.folder / ".step-0011.half").mkdir()
    assert run.begin(["data"]).name == "checkpoint-10", "by number, not by name"
    assert sorted(p.name for p in run.resume.iterdir()) == ["checkpoint-10", "checkpoint-9"]
    assert not list(run.folder.glob(".*.half"))


def test_a_folder_belongs_to_one_training(run, base):
    run.begin(["data", 1])
    with pytest.raises(KitError, match="holds a training on other data, model or settings"):
        run.begin(["data", 2])
    (base / "model.safetensors").write_text("other weights")
    with pytest.raises(KitError, match="holds a training on other"):
        run.begin(["data", 1])


def test_saving_keeps_the_tokenizer_verbatim_and_nothing_of_the_training(run):
    run.begin([])
    run.save("step-0010", write_model)
    kept = sorted(p.name for p in (run.folder / "step-0010").iterdir())
    assert kept == ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    assert json.loads((run.folder / "step-0010/tokenizer_config.json").read_text()) == {"spelled": True}


def test_a_step_is_replaced_when_its_update_is_repeated(run):
    run.begin([])
    run.save("step-0010", write_model)
    (run.folder / "step-0010" / "old").touch()
    run.save("step-0010", write_model)
    assert not (run.folder / "step-0010" / "old").exists()


def test_the_final_model_ends_the_run(run):
    run.begin([])
    checkpoint(run, 1)
    assert not run.finished
    run.save("", write_model)
    assert run.finished and not run.resume.exists()
    checkpoint(run, 1)  # as if killed before the checkpoints were gone
    assert run.begin([]) is None and not run.resume.exists()


def test_the_configuration_comes_last(run, monkeypatch):
    import os

    moved, replace = [], os.replace
    monkeypatch.setattr("os.replace", lambda a, b: (moved.append(b.name), replace(a, b)))
    run.begin([])
    run.save("", write_model)
    assert moved[-1] == "config.json" and "model.safetensors" in moved


def test_the_log_has_the_losses_and_nothing_that_changes_from_run_to_run(run):
    run.begin([])
    history = [{"loss": 1.0, "step": 1, "epoch": 0.5, "step_time": 0.3}, {"train_runtime": 3.0, "step": 1}]
    run.log({"episodes": 2}, history)
    lines = (run.folder / "log.jsonl").read_text().splitlines()
    assert list(map(json.loads, lines)) == [{"episodes": 2}, {"loss": 1.0, "step": 1}]


def test_fingerprints_differ_with_every_input(base):
    prints = {fingerprint(base, inputs) for inputs in ([], [1], [1, 2], [12], [[1], 2], ["1"])}
    assert len(prints) == 6


def test_sharded_weights_are_no_tokenizer(base, tmp_path):
    for name in ("model-00001-of-00002.safetensors", "model.safetensors.index.json", "vocab.json"):
        (base / name).write_text("{}")
    target = tmp_path / "copy"
    target.mkdir()
    copy_tokenizer(base, target)
    assert sorted(p.name for p in target.iterdir()) == [
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
    ]
