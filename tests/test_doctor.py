"""The doctor says ok of what is well, what to do of what is not, and never stops at the first fault."""

import hashlib
import json
import struct
import sys
from argparse import ArgumentParser
from functools import partial

import pytest
from harbour import TURNS, make_database

from mtsql_lib import doctor
from mtsql_lib.config import Profile, where_data
from mtsql_lib.doctor import Finding, add_arguments, examine, main, weights_fault
from mtsql_lib.estimate import KNOWN, Card, Shape, estimate, shape_of
from mtsql_lib.predicates import STYLES, played
from mtsql_lib.tokens import train_spelled_tokenizer

CHECKS = ("checksums", "databases", "gold", "templates", "tokenizer", "model", "disk", "memory", "gpu")


def write_corpus(folder, sqls=None):
    turns = [{"utterance": t.utterance, "query": t.sql} for t in TURNS]
    for turn, sql in zip(turns, sqls or (), strict=False):
        turn["query"] = sql
    folder.mkdir()
    (folder / "dev.json").write_text(json.dumps([{"database_id": "harbour", "interaction": turns}]))


def write_weights(path, missing=0):
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * (8 - missing))


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A small healthy installation: one corpus, one database, checksums, a model folder that isn't loaded."""
    make_database(tmp_path / "data" / "database")
    write_corpus(tmp_path / "data" / "steps")
    file = tmp_path / "data" / "steps" / "dev.json"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    (tmp_path / "data" / "SHA256SUMS").write_text(f"{digest}  steps/dev.json\n")
    model = tmp_path / "data" / "models" / "tiny"
    train_spelled_tokenizer(("".join(t for t, _ in played(style).pieces()) for style in STYLES), 700, model)
    (model / "config.json").write_text(json.dumps({"architectures": ["Qwen3ForCausalLM"]}))
    write_weights(model / "model.safetensors")
    monkeypatch.setattr(doctor, "examine", partial(examine, root=tmp_path))
    monkeypatch.setattr(doctor.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "_available", lambda: 16e9)
    return tmp_path


def findings(name="", **overrides):
    profile = Profile.load("laptop", **{"data.test": ["steps"], **overrides})
    return [f for f in doctor.examine(profile) if not name or f.name == name]


def test_a_healthy_machine_needs_nothing(machine):
    found = findings()
    assert [str(f) for f in found if not f.ok and f.name not in ("python", "packages")] == []
    assert list(dict.fromkeys(f.name for f in found))[-len(CHECKS) :] == list(CHECKS)
    text = "\n".join(map(str, found))
    assert "steps: gold against gold EX 3, EM 3 of 3" in text and "1 of 1 files" in text
    assert "database open and are sound" in text and "Qwen3ForCausalLM" in text


def test_each_line_says_ok_or_what_to_do():
    assert str(Finding("disk", "9 GB free")) == "ok    disk         9 GB free"
    assert str(Finding("disk", "1 GB free", "make room")) == "MEND  disk         1 GB free: make room"


def test_a_changed_file_is_named(machine):
    (machine / "data" / "steps" / "dev.json").write_text("[]")
    assert "steps/dev.json differ; make data" in findings("checksums")[0].remedy
    (machine / "data" / "SHA256SUMS").unlink()
    assert findings("checksums")[0].ok


def test_a_damaged_database_is_named_and_the_rest_goes_on(machine):
    file = machine / "data" / "database" / "harbour" / "harbour.sqlite"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 4096)
    found = findings()
    assert any(f.name == "databases" and not f.ok and "harbour" in f.found for f in found)
    assert found[-1].name == "gpu"


def test_no_databases_and_no_corpus_say_where_they_come_from(machine):
    assert "make data" in findings("databases", **{"data.databases": "nowhere"})[0].remedy
    assert "make data" in findings("gold", **{"data.test": ["talk"]})[0].remedy
    assert "SParC" in where_data(Profile.load("qwen3-4b"))


def test_a_gold_query_that_is_not_right_is_named(machine):
    (machine / "data" / "steps" / "dev.json").unlink()
    (machine / "data" / "steps").rmdir()
    write_corpus(machine / "data" / "steps", ["SELECT upper(Name) FROM Ferry", "SELECT nam FROM Ferry"])
    (finding,) = findings("gold")
    assert "EX 2, EM 1 of 3" in finding.found and "dev_0000/1 does not run" in finding.found
    assert "dev_0000/0 must be right" in finding.remedy


def test_a_published_query_that_does_not_run_is_named_but_no_fault(machine):
    (machine / "data" / "SHA256SUMS").unlink()
    (machine / "data" / "steps" / "dev.json").unlink()
    (machine / "data" / "steps").rmdir()
    write_corpus(machine / "data" / "steps", ["SELECT T1.Name FROM Ferry"])
    (finding,) = findings("gold")
    assert "dev_0000/0 does not run" in finding.found and finding.ok


def test_pad_and_end_of_turn_must_differ(machine, monkeypatch):
    from mtsql_lib.tokens import SpelledCodec

    monkeypatch.setattr(
        SpelledCodec, "pad", property(lambda self: self.end_of_turn, lambda self, v: None), False
    )
    (finding,) = findings("tokenizer")
    assert not finding.ok and "pad token is the end-of-turn token" in finding.found


def test_a_broken_template_is_a_finding(machine, monkeypatch):
    monkeypatch.setattr("mtsql_lib.predicates.template_faults", lambda style: [f"{style} is broken"])
    (finding,) = findings("templates")
    assert finding.found == "compact is broken; full is broken" and not finding.ok


def test_a_missing_model_says_how_to_get_it(machine):
    for name in ("tokenizer", "model"):
        assert findings(name, **{"model.path": "nowhere"})[0].remedy == "make base trains the tiny one"
        assert findings(name, **{"model.path": "x/Qwen3-4B"})[0].remedy == "download Qwen/Qwen3-4B into it"


def test_weights_are_checked_without_torch(machine):
    file = machine / "data" / "models" / "tiny" / "model.safetensors"
    assert weights_fault(file) is None
    write_weights(file, missing=3)
    assert "bytes where" in findings("model")[0].found
    file.write_bytes(b"no weights")
    assert "no safetensors file" in findings("model")[0].found
    file.unlink()
    assert "has no *.safetensors" in findings("model")[0].found
    assert not findings("model")[0].ok


def test_too_little_disk_or_memory_is_told(machine, monkeypatch):
    monkeypatch.setattr(doctor, "_available", lambda: 1e9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1e9}))
    assert "close programs" in findings("memory")[0].remedy and "make room" in findings("disk")[0].remedy


def test_a_check_that_breaks_is_a_finding(machine, monkeypatch):
    monkeypatch.setattr(doctor, "_disk", lambda profile, folder: 1 / 0)
    (finding,) = findings("disk")
    assert "the check broke (ZeroDivisionError" in finding.found and not finding.ok


def test_packages_that_are_missing_or_off_are_named(monkeypatch):
    monkeypatch.setattr(
        doctor.metadata, "requires", lambda name: ["pytest>=1", "pytest<1", "no-such-package"]
    )
    off, missing, right = doctor._packages()
    assert "where <1 is needed" in off.found and "no-such-package is missing" in missing.found
    assert right.ok and "pytest" in right.found and not off.ok and not missing.ok


def test_the_exit_code_is_1_if_anything_is_to_be_mended(machine, monkeypatch, capsys):
    parser = ArgumentParser()
    add_arguments(parser)
    args = parser.parse_args([])
    monkeypatch.setattr(doctor, "examine", lambda profile: [Finding("a", "b"), Finding("c", "d", "e")])
    assert main(args) == 1 and capsys.readouterr().out.endswith("MEND  c            d: e\n1 to mend\n")
    monkeypatch.setattr(doctor, "examine", lambda profile: [Finding("a", "b")])
    assert main(args) == 0 and "everything is well" in capsys.readouterr().out


# The estimate


@pytest.mark.parametrize(("name", "billions"), [("Qwen3-1.7B", 1.72), ("Qwen3-4B", 4.02)])
def test_known_shapes_have_their_published_size(name, billions, tmp_path):
    shape = shape_of(tmp_path / name)
    assert shape == Shape(*KNOWN[name]) and shape.parameters / 1e9 == pytest.approx(billions, abs=0.01)
    assert shape_of(tmp_path / "else") is None


def test_a_models_own_config_comes_first(tmp_path):
    values = {
        "num_hidden_layers": 2, "hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 1,
        "head_dim": 4, "intermediate_size": 16, "vocab_size": 10,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(values))
    # a layer: q and o 8 x 8, k and v 8 x 4, three of 8 x 16; the embedding 10 x 8
    assert shape_of(tmp_path).parameters == 2 * (64 + 64 + 32 + 32 + 3 * 128) + 80
    assert shape_of(tmp_path).cache_bytes == 2 * 2 * 1 * 4 * 2


def test_memory_by_hand():
    profile, shape = Profile.load("qwen3-1.7b"), Shape(*KNOWN["Qwen3-1.7B"])
    found = estimate(profile, shape)
    episode = 12_000 * (28 * 2048 * 2 + 151_936 * 4 * 2)
    assert found.training_gb == pytest.approx((shape.parameters * 20 + episode) / 1e9)
    assert found.rows == int((80e9 * 0.85 - 2 * shape.parameters) / (28 * 2 * 8 * 128 * 2 * 12_000))
    assert found.fits and "together" in str(found)
    assert not estimate(profile, shape, Card(24e9)).fits


def test_more_work_takes_more_hours():
    shape = Shape(*KNOWN["Qwen3-4B"])

    def hours(**changes):
        return estimate(Profile.load("qwen3-4b", **changes), shape).hours

    base = hours()
    assert hours(**{"sampling.samples": 40})["sampling"] == pytest.approx(2 * base["sampling"])
    assert hours(**{"rl.steps_per_bin": [120, 120, 60]})["RL"] == pytest.approx(2 * base["RL"])
    assert hours(**{"sft.epochs": 4})["SFT"] == pytest.approx(2 * base["SFT"])
    assert all(value > 0 for value in base.values())


def test_the_doctor_is_light():
    import subprocess

    code = "import sys, mtsql_lib.doctor; print({'torch', 'transformers', 'trl'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
