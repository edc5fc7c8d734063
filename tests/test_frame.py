"""The frame holds together: one list of dependencies, a README that is true, notebooks that stay thin."""

import ast
import json
import os
import re
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from statistics import median

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from mtsql_lib import runner

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
LIBRARY = sorted(path for path in (ROOT / "mtsql_lib").rglob("*.py") if path.stem[:2] != "__")
MODULES = [path.stem for path in LIBRARY]


def requirements(*extras):
    extra = [line for name in extras for line in PROJECT["optional-dependencies"][name]]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extra]]


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and line[0] != "#"]


def locked():
    pairs = (line.split("==") for line in lines("requirements.lock"))
    return {canonicalize_name(name): version for name, version in pairs}


# --- dependencies ---


def test_the_lock_holds_exact_public_versions_only():
    assert [line for line in lines("requirements.lock") if not re.fullmatch(r"[\w.-]+==[\w.]+", line)] == []
    assert "torch==2.13.0" in lines("requirements.lock")


def test_the_lock_fulfils_the_list_and_the_constraints():
    versions = locked()
    bounds = [Requirement(line.split("#")[0].strip()) for line in lines("constraints.txt")]
    wanted = [*requirements("dev"), *bounds]
    assert [str(r) for r in wanted if versions[canonicalize_name(r.name)] not in r.specifier] == []


def test_the_conda_environment_is_the_lock_with_vllm():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert f"python{PROJECT['requires-python']}" in conda and "pip" in conda
    assert pip["pip"] == ["-r requirements.lock", *map(str, requirements("vllm")[-1:]), "-e ."]


def imported(path):
    """The packages that a file imports, lazily or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module.split(".")[0]


def test_what_is_imported_is_listed():
    listed = {canonicalize_name(r.name).replace("-", "_") for r in requirements("dev", "vllm")}
    listed |= {"mtsql_lib", "nbclient", "IPython"}  # the last two belong to papermill and jupyterlab
    files = [*LIBRARY, *(ROOT / "benchmarks").glob("*.py")]
    found = {name for path in files for name in imported(path)} - sys.stdlib_module_names
    assert found - listed == set()


# --- the door ---


# without what `make test` hands down: a make called by make tells of the folders it enters
PLAIN = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def targets():
    return re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.M)


def test_every_target_is_in_the_readme_and_only_those():
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
    assert sorted(targets()) == sorted(phony)
    assert set(re.findall(r"`make ([a-z-]+)", README)) == set(targets())


def test_help_is_the_default_and_lists_the_targets():
    done = subprocess.run(["make"], cwd=ROOT, env=PLAIN, capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in done.stdout.splitlines()[1:]] == targets()


def test_targets_call_commands_that_exist():
    from mtsql_lib.__main__ import COMMANDS

    assert set(re.findall(r"-m mtsql_lib (\w+)", MAKEFILE)) <= set(COMMANDS)
    assert [name for name, (module, _) in COMMANDS.items() if module.split(".")[-1] not in MODULES] == []


def test_without_a_python_that_fits_make_says_so(tmp_path):
    for name in ("Makefile", "requirements.lock"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    command = ["make", "test", "PYTHON="]
    done = subprocess.run(command, cwd=tmp_path, env=PLAIN, capture_output=True, text=True)
    assert done.returncode != 0 and done.stderr.startswith("No Python 3.11 or 3.12 found")
    assert not (tmp_path / ".venv").exists()


def test_continuous_integration_calls_the_test_target():
    assert os.access(ROOT / ".ci/run", os.X_OK) and "make test" in (ROOT / ".ci/run").read_text()


def test_hooks_need_nothing_from_elsewhere():
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert local["repo"] == "local" and {hook["language"] for hook in local["hooks"]} == {"system"}
    assert any("cell.metadata.papermill" in hook["entry"] for hook in local["hooks"])


# --- the README and the papers ---


def test_the_tree_names_every_entry_and_every_module():
    tree = README.split("## The tree")[1]
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True).stdout
    entries = {path.split("/")[0] + ("/" if "/" in path else "") for path in tracked.splitlines()}
    assert [entry for entry in sorted(entries) if entry not in tree] == []
    named = [name for name in re.findall(r"`([a-z_]+\*?)`", tree) if name != "mtsql_lib"]
    assert [module for module in MODULES if not any(fnmatch(module, name) for name in named)] == []
    assert [name for name in named if "_" in name and not any(fnmatch(m, name) for m in MODULES)] == []


def test_both_papers_are_cited():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    identifiers = [entry["value"] for paper in citation["references"] for entry in paper["identifiers"]]
    assert {"arXiv:2510.12831", "arXiv:2505.04671"} <= set(identifiers)
    assert citation["license"] == PROJECT["license"] == "Apache-2.0"
    assert "Apache License" in (ROOT / "LICENSE").read_text()


def test_no_module_is_longer_than_400_lines():
    counts = {path.name: len(path.read_text().splitlines()) for path in LIBRARY}
    assert {m: n for m, n in counts.items() if n > 400} == {}


# --- the notebooks ---


def faults(path):
    """What breaks the notebook rules: (code cell, complaint)."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    lengths = [len("".join(cell["source"]).splitlines()) for cell in code]
    found = [(n, f"{length} lines") for n, length in enumerate(lengths) if length > 30]
    found += [(n, "has outputs") for n, cell in enumerate(code) if cell["outputs"] or cell["execution_count"]]
    found += [(n, "papermill's traces") for n, cell in enumerate(cells) if "papermill" in cell["metadata"]]
    if median(lengths) > 6:
        found.append((-1, f"median of {median(lengths)} lines"))
    return found


def test_the_runner_knows_every_notebook():
    assert [path.stem for path in NOTEBOOKS] == sorted(runner.NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_thin_clean_and_takes_the_runs_parameters(path):
    parameters = {"PROFILE": "smoke", "SEED": 1, "RUN": "runs/smoke-1", "OVERRIDES": "{}"}
    runner.check_notebook(path, parameters)
    assert faults(path) == []
    assert "papermill" not in json.loads(path.read_text(encoding="utf-8"))["metadata"]


def test_the_rules_find_what_breaks_them(tmp_path):
    bad = {"cell_type": "code", "source": ["x\n"] * 31, "outputs": [1], "execution_count": 2, "metadata": {}}
    bad["metadata"]["papermill"] = {}
    (tmp_path / "a.ipynb").write_text(json.dumps({"cells": [bad]}))
    complaints = [complaint for _, complaint in faults(tmp_path / "a.ipynb")]
    assert complaints == ["31 lines", "has outputs", "papermill's traces", "median of 31 lines"]
