"""The runner: what papermill would let pass is refused, what is done is skipped, failures are clear."""

import argparse
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from mtsql_lib import runner, store
from mtsql_lib.config import Profile
from mtsql_lib.errors import KitError
from mtsql_lib.store import atomic_write, read_manifest, sha256_of, stage

PARAMETERS = {"PROFILE": "smoke", "SEED": 1, "RUN": "runs/smoke-1", "OVERRIDES": "{}"}
DEFAULTS = 'PROFILE: str = "laptop"\nSEED: int = 3\nRUN = ""\nOVERRIDES = "{}"'
STAGE = """
from mtsql_lib.store import atomic_write, stage
with stage(RUN, "{name}", inputs={{}}, config={{}}, seed=SEED) as current:
    if not current.fresh:
        print("working on {name} with", PROFILE)
        atomic_write(current.folder / "out", "x")
        current.produced(current.folder / "out")
"""


# What a kernel's message loop may log while it shuts down: no cell holds it, so it would reach the terminal.
LOGS_AT_EXIT = """
import atexit, logging
atexit.register(logging.getLogger("tornado.general").error, "Traceback of a closed socket")
"""


def code(source, *tags):
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {"tags": list(tags)},
        "outputs": [],
        "source": source,
    }


def write(path, *cells, kernel="python3"):
    metadata = {"kernelspec": {"name": kernel, "display_name": kernel, "language": "python"}}
    notebook = {"cells": list(cells), "metadata": metadata, "nbformat": 4, "nbformat_minor": 4}
    atomic_write(path, json.dumps(notebook))
    return path


def refused(act, *args, **more):
    with pytest.raises(KitError) as caught:
        act(*args, **more)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- before anything runs ---


def test_a_good_notebook_is_read(tmp_path):
    path = write(tmp_path / "a.ipynb", code("1"), code(DEFAULTS, "parameters"))
    assert runner.check_notebook(path, PARAMETERS) == ["1", DEFAULTS]


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (DEFAULTS.replace("SEED", "SED"), "no parameter SEED"),
        (DEFAULTS + "\nSTEPS = 4", "STEPS, which no run sets"),
        (DEFAULTS.replace("3", '"3"'), "SEED is str, the run gives int"),
        (DEFAULTS.replace("3", "3.0"), "SEED is float, the run gives int"),
        (DEFAULTS + "\nTWICE = SEED * 2", "only NAME = plain value"),
        (DEFAULTS + "\nimport os", "only NAME = plain value"),
        (DEFAULTS + "\nA = B = 1", "only NAME = plain value"),
        (DEFAULTS + "\nif:", "only NAME = plain value"),
    ],
)
def test_the_parameters_must_be_the_runs_in_name_and_type(tmp_path, source, complaint):
    path = write(tmp_path / "a.ipynb", code(source, "parameters"))
    assert complaint in refused(runner.check_notebook, path, PARAMETERS)


def test_exactly_one_cell_is_tagged(tmp_path):
    for tagged in (0, 2):
        cells = [code(DEFAULTS, "parameters")] * tagged + [code("1")]
        message = refused(runner.check_notebook, write(tmp_path / "a.ipynb", *cells), PARAMETERS)
        assert f"{tagged} cells tagged 'parameters'" in message


def test_the_kernel_is_python3(tmp_path):
    path = write(tmp_path / "a.ipynb", code(DEFAULTS, "parameters"), kernel="conda-env-x")
    assert "must be python3, not conda-env-x" in refused(runner.check_notebook, path, PARAMETERS)


def test_a_missing_or_broken_file_is_named(tmp_path):
    assert "is missing" in refused(runner.check_notebook, tmp_path / "a.ipynb", PARAMETERS)
    for text in ("", "{}", "[]", '{"cells": [{}], "metadata": {}}'):
        (tmp_path / "a.ipynb").write_text(text)
        assert "is not a notebook" in refused(runner.check_notebook, tmp_path / "a.ipynb", PARAMETERS)


def test_options_make_the_run(monkeypatch):
    parser = argparse.ArgumentParser()
    runner.add_arguments(parser)
    args = parser.parse_args(["--set", "rl.group_size=4", "--set", "data.train=talk"])
    assert (args.profile, args.seed) == ("laptop", 1)
    assert runner.overrides_of(args) == {"rl.group_size": 4, "data.train": "talk"}
    assert "KEY=VALUE" in refused(runner.overrides_of, parser.parse_args(["--set", "rl"]))
    plain, changed = runner.run_folder("smoke", 2), runner.run_folder("smoke", 2, {"rl.group_size": 4})
    assert str(plain) == "runs/smoke-2" and str(changed).startswith("runs/smoke-2-")


# --- the pipeline ---


@pytest.fixture
def project(tmp_path):
    """A project of two notebooks, each with one stage, over data that is there but says nothing."""
    for folder in ("data/steps", "data/talk", "data/database", "data/models/tiny"):
        atomic_write(tmp_path / folder / "file", folder)
    for name in ("01_a", "02_b"):
        cells = [code(DEFAULTS, "parameters"), code(STAGE.format(name=name[3:]))]
        write(tmp_path / "notebooks" / f"{name}.ipynb", *cells)
    return tmp_path


RUN = Path("runs/smoke-1")
NOTEBOOKS = {"01_a": ("a*",), "02_b": ("b",)}


def reproduce(project, notebooks=NOTEBOOKS, **overrides):
    return runner.reproduce(Profile.load("smoke", **overrides), RUN, root=project, notebooks=notebooks)


@pytest.fixture
def acted(monkeypatch):
    """Stands in for the kernel: a notebook's stage is run in this process, the executed copy is its name."""
    executed = []

    def execute(source, target, parameters, root):
        name = source.stem[3:]
        with stage(root / parameters["RUN"], name, inputs={}, config={}, seed=1) as current:
            if not current.fresh:
                atomic_write(current.folder / "out", "x")
                current.produced(current.folder / "out")
        atomic_write(target, source.stem)
        executed.append(source.stem)

    monkeypatch.setattr(runner, "_execute", execute)
    return executed


def test_a_second_pass_does_nothing_and_says_so(project, acted, capsys, monkeypatch):
    for module in (runner, store):
        monkeypatch.setattr(module, "kit_hash", lambda: "the same")
    assert reproduce(project) == ["01_a", "02_b"]
    capsys.readouterr()
    assert reproduce(project) == [] and acted == ["01_a", "02_b"]
    assert capsys.readouterr().out.splitlines() == [
        "01_a: done already, skipped",
        "02_b: done already, skipped",
        f"nothing to do: every stage is done; delete {project / RUN}, or take another SEED, to start anew",
    ]


def test_a_change_of_the_library_is_mentioned(project, acted, capsys, monkeypatch):
    reproduce(project)
    monkeypatch.setattr(runner, "kit_hash", lambda: "other")
    assert reproduce(project) == []
    assert "code of mtsql_lib has changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("touched", "again"),
    [
        ("runs/smoke-1/b/out", ["02_b"]),
        ("runs/smoke-1/a/out", ["01_a", "02_b"]),
        ("runs/smoke-1/b/manifest.json", ["02_b"]),
        ("runs/smoke-1/notebooks/02_b.json", ["02_b"]),
        ("data/talk/file", ["01_a", "02_b"]),
        ("data/models/tiny/file", ["01_a", "02_b"]),
        ("README.md", []),
    ],
)
def test_what_was_touched_and_all_that_follows_is_executed_again(project, acted, touched, again):
    reproduce(project)
    (project / touched).write_text("touched")
    assert reproduce(project) == again
    assert reproduce(project) == []


def test_a_changed_cell_or_profile_is_executed_again(project, acted):
    reproduce(project)
    write(project / "notebooks/02_b.ipynb", code(DEFAULTS, "parameters"), code("2"))
    assert reproduce(project) == ["02_b"]
    assert reproduce(project, **{"rl.clip": 0.3}) == ["01_a", "02_b"]


def test_a_stage_that_the_notebook_promises_but_leaves_out_is_an_error(project, acted):
    promised = NOTEBOOKS | {"02_b": ("b", "rl_*")}
    assert "no stage rl_* has a manifest" in refused(reproduce, project, promised)
    assert refused(reproduce, project, promised) and acted == ["01_a", "02_b", "02_b"]


def test_missing_data_or_model_says_which_target_makes_it(project, acted):
    (project / "data/models/tiny").rename(project / "elsewhere")
    assert "make base" in refused(reproduce, project)
    (project / "data/database").rename(project / "moved")
    assert "make data" in refused(reproduce, project) and acted == []


def test_a_bad_notebook_stops_the_run_before_the_first_one_starts(project, acted):
    write(project / "notebooks/02_b.ipynb", code("1"))
    assert "0 cells tagged" in refused(reproduce, project) and acted == []


def test_two_processes_do_not_share_a_run(project, acted):
    (project / RUN).mkdir(parents=True)
    with (project / RUN / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another process is working in" in refused(reproduce, project)
    assert reproduce(project)


# --- with real kernels ---


@pytest.mark.slow
def test_papermill_runs_the_notebooks_in_the_root_with_the_parameters(project, capfd):
    first = [code(DEFAULTS, "parameters"), code(STAGE.format(name="a")), code(LOGS_AT_EXIT)]
    write(project / "notebooks/01_a.ipynb", *first)
    assert reproduce(project) == ["01_a", "02_b"]
    assert (project / RUN / "b/out").read_text() == "x"
    assert read_manifest(project / RUN, "a")["seed"] == 1
    copy = json.loads((project / RUN / "notebooks/01_a.ipynb").read_text())
    assert any("smoke" in "".join(cell["source"]) for cell in copy["cells"])
    out, err = capfd.readouterr()
    assert "  working on a with smoke\n" in out and out.startswith("01_a: running\n")
    # neither papermill's progress bar nor a kernel's last words
    assert "Executing" not in err and "Traceback" not in err
    assert json.loads((project / "notebooks/01_a.ipynb").read_text())["cells"][1]["outputs"] == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("raise ValueError('bad\\nworse')", "ValueError: bad (01_a.ipynb, cell [3]; the executed "),
        ("from mtsql_lib.errors import KitError\nraise KitError('no data')", "no data (01_a.ipynb, cell [3]"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", "01_a.ipynb: the kernel died"),
    ],
)
def test_a_failing_cell_is_one_sentence_and_leaves_the_executed_notebook(project, source, message):
    write(project / "notebooks/01_a.ipynb", code(DEFAULTS, "parameters"), code(source))
    said = refused(reproduce, project)
    assert said.startswith(message)
    assert str(project / RUN / "notebooks/01_a.ipynb") in said
    assert (project / RUN / "notebooks/01_a.ipynb").is_file()
    assert not (project / RUN / "notebooks/01_a.json").exists()


# --- the command line ---


def command(*arguments):
    return subprocess.run([sys.executable, "-m", "mtsql_lib", *arguments], capture_output=True, text=True)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("reproduce", "--profile", "lapdog"), "no profile is called 'lapdog': choose one of "),
        (("reproduce", "--set", "rl.grop_size=4"), "unknown key rl.grop_size in the overrides: did "),
        (("reproduce", "--set", "rl.group_size=four"), "rl.group_size must be int, not str ('four')"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(arguments, sentence):
    done = command(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(sentence) and done.stderr.count("\n") == 1


def test_an_unknown_command_lists_the_known_ones():
    done, helped = command("reproduction"), command("--help")
    assert done.returncode == 2 and done.stderr.startswith("unknown command reproduction\n")
    assert helped.returncode == 0 and all(f"  {name}" in helped.stdout for name in ("reproduce", "score"))


def test_overrides_get_a_folder_of_their_own():
    a, b = ({"rl.clip": 0.1, "seed": 2}, {"seed": 2, "rl.clip": 0.1})
    assert runner.run_folder("smoke", 1, a) == runner.run_folder("smoke", 1, b)
    assert runner.run_folder("smoke", 1, a).name.endswith(sha256_of(a)[:8])
