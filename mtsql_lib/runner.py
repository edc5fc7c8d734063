"""The notebooks as one pipeline: papermill executes them in order, behind the checks that it does not make.

papermill alone lets a misspelt parameter, a missing tag or a string for a number pass with exit code 0.
Here each of them is a KitError before anything runs. A notebook is done when all stages that it holds
have their manifests, not when its executed copy exists. It is executed again if its cells, the profile, the
data or the base model have changed, if a stage is no longer what its manifest says, or if a notebook before
it was executed; its fresh stages are then skipped one by one. Left out: parallel notebooks, for each reads
what the last one wrote.
"""

from __future__ import annotations

import argparse
import ast
import fcntl
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from mtsql_lib.config import Profile, where_data, where_model
from mtsql_lib.errors import KitError
from mtsql_lib.store import (
    atomic_write,
    clear_faults,
    is_intact,
    kit_hash,
    read_json,
    read_manifest,
    sha256_folder,
    sha256_of,
)

# In order, with the stages that each holds (patterns).
NOTEBOOKS = {
    "01_env": (),
    "02_sampling": ("sample_1",),
    "03_sft": ("sample_*", "sft_*"),
    "04_rl_curriculum": ("difficulty", "rl_*"),
    "05_eval": ("eval_*",),
}
# No package of a kernel may go to the network, and no set or dict may depend on the process.
_SURROUNDINGS = {"PYTHONHASHSEED": "0", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
# A kernel warns of its loopback sockets, and its message loop may log a traceback of one that the shutdown
# has closed. A cell that fails is reported all the same.
_QUIET = [
    "--IPKernelApp.log_level=ERROR",
    "--IPKernelApp.logging_config={'loggers': {'tornado': {'level': 'CRITICAL'}}}",
]


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that name a run: profile, seed and changed settings."""
    parser.add_argument("--profile", default="laptop", help="smoke, laptop, qwen3-1.7b or qwen3-4b")
    parser.add_argument("--seed", type=int, default=1, help="seed of the run")
    changes = {"action": "append", "default": [], "metavar": "KEY=VALUE"}
    parser.add_argument("--set", **changes, help="change a setting, for instance rl.group_size=4")


def overrides_of(args: argparse.Namespace) -> dict[str, Any]:
    """The settings changed by `--set`; a value is JSON, or else a string."""
    changes = {}
    for item in args.set:
        key, equals, value = item.partition("=")
        if not equals:
            raise KitError(f"--set {item}: write KEY=VALUE, for instance rl.group_size=4")
        try:
            changes[key] = json.loads(value)
        except json.JSONDecodeError:
            changes[key] = value
    return changes


def run_folder(name: str, seed: int, overrides: Mapping[str, Any] | None = None) -> Path:
    """runs/<profile>-<seed>; changed settings get a folder of their own, so that no run is overwritten."""
    suffix = f"-{sha256_of(overrides)[:8]}" if overrides else ""
    return Path("runs") / f"{name}-{seed}{suffix}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of `python -m mtsql_lib reproduce`."""
    add_run_options(parser)


def main(args: argparse.Namespace) -> int:
    """Run all notebooks of a profile from the project's root."""
    overrides = overrides_of(args)
    run = run_folder(args.profile, args.seed, overrides)
    reproduce(Profile.load(args.profile, seed=args.seed, **overrides), run, overrides)
    return 0


def reproduce(
    profile: Profile,
    run: Path,
    overrides: Mapping[str, Any] | None = None,
    *,
    notebooks: Mapping[str, tuple[str, ...]] = NOTEBOOKS,
    root: Path = Path("."),
) -> list[str]:
    """Execute what is not done yet and return the names of the executed notebooks.

    Paths are relative to `root`, the working directory of the kernels. Raises KitError for a notebook that
    breaks the rules, a missing input, a failing cell, and a run folder that another process is using.
    """
    parameters = {"PROFILE": profile.name, "SEED": profile.seed, "RUN": str(run)}
    parameters["OVERRIDES"] = json.dumps(dict(overrides or {}))
    sources = {name: root / "notebooks" / f"{name}.ipynb" for name in notebooks}
    cells = {name: check_notebook(source, parameters) for name, source in sources.items()}
    inputs = _inputs(profile, root)
    executed: list[str] = []
    with _alone(root / run):
        for name, source in sources.items():
            settings = {"profile": profile.as_dict(), "inputs": inputs, "cells": cells[name]}
            key, record = sha256_of(settings), root / run / "notebooks" / f"{name}.json"
            if not executed and _is_done(root / run, record, key):
                print(f"{name}: done already, skipped", flush=True)
                continue
            _execute(source, record.with_suffix(".ipynb"), parameters, root)
            stages = _stages(root / run, name, notebooks[name])
            atomic_write(record, json.dumps({"key": key, "stages": stages}, indent=1) + "\n")
            executed.append(name)
        if not executed:
            _say_nothing_to_do(root / run)
    return executed


def check_notebook(path: Path, parameters: Mapping[str, Any]) -> list[str]:
    """The sources of a notebook's cells.

    Raises KitError unless it is a notebook for the kernel python3 with exactly one cell tagged `parameters`,
    of plain literals, which binds exactly the given names with values of the same types.
    """
    try:
        notebook = json.loads(path.read_text(encoding="utf-8"))
        cells, metadata = notebook["cells"], notebook["metadata"]
        sources = ["".join(cell["source"]) for cell in cells]
    except FileNotFoundError:
        raise KitError(f"the notebook {path} is missing") from None
    except (ValueError, KeyError, TypeError) as fault:
        raise KitError(f"{path} is not a notebook ({type(fault).__name__}: {fault})") from None
    if (kernel := metadata.get("kernelspec", {}).get("name")) != "python3":
        raise KitError(f"{path.name}: the kernel must be python3, not {kernel}")
    tagged = [n for n, cell in enumerate(cells) if "parameters" in cell["metadata"].get("tags", [])]
    if len(tagged) != 1:
        raise KitError(f"{path.name} has {len(tagged)} cells tagged 'parameters' where exactly one is needed")
    _check_parameters(path.name, _literals(path.name, sources[tagged[0]]), parameters)
    return sources


def _literals(name: str, source: str) -> dict[str, Any]:
    """The assignments of a parameters cell; papermill would keep anything derived there at its default."""
    values: dict[str, Any] = {}
    try:
        for node in ast.parse(source).body:
            (target,) = node.targets if isinstance(node, ast.Assign) else (node.target,)
            values[target.id] = ast.literal_eval(node.value)
    except (SyntaxError, ValueError, AttributeError, TypeError):
        raise KitError(f"{name}: the parameters cell may hold only NAME = plain value") from None
    return values


def _check_parameters(name: str, defaults: Mapping[str, Any], parameters: Mapping[str, Any]) -> None:
    for key, value in parameters.items():
        if key not in defaults:
            raise KitError(f"{name} has no parameter {key}: its parameters cell binds {', '.join(defaults)}")
        if type(defaults[key]) is not type(value):
            wanted, given = type(defaults[key]).__name__, type(value).__name__
            raise KitError(f"{name}: the parameter {key} is {wanted}, the run gives {given} ({value!r})")
    if unset := [key for key in defaults if key not in parameters]:
        raise KitError(f"{name} has the parameter {unset[0]}, which no run sets: make it a setting instead")


def _inputs(profile: Profile, root: Path) -> dict[str, str]:
    """Hashes of the data and the base model that a profile names."""
    corpora = sorted({profile.data.train, *profile.data.test})
    folders = [f"{profile.data.corpora}/{corpus}" for corpus in corpora]
    for folder in (*folders, profile.data.databases):
        if not (root / folder).is_dir():
            raise KitError(f"the folder {folder} is missing: {where_data(profile)}")
    if not (root / profile.model.path).is_dir():
        raise KitError(f"the base model {profile.model.path} is missing: {where_model(profile.model.path)}")
    folders += [profile.data.databases, profile.model.path]
    return {folder: sha256_folder(root / folder) for folder in folders}


@contextmanager
def _alone(run: Path) -> Iterator[None]:
    """Holds the run folder's lock, which the system releases even after a kill."""
    with clear_faults(run):
        run.mkdir(parents=True, exist_ok=True)
        lock = (run / ".lock").open("w")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise KitError(f"another process is working in {run}: wait, or take another SEED") from None
        yield


def _is_done(run: Path, record: Path, key: str) -> bool:
    old = read_json(record)
    if old.get("key") != key or not record.with_suffix(".ipynb").is_file():
        return False
    for stage, digest in old["stages"].items():
        manifest = read_manifest(run, stage)
        if not manifest or sha256_of(manifest) != digest or not is_intact(run, manifest):
            return False
    return True


def _stages(run: Path, name: str, patterns: tuple[str, ...]) -> dict[str, str]:
    """The stages that the executed notebook holds, with the hashes of their manifests."""
    paths = (path.parent.relative_to(run).as_posix() for path in sorted(run.rglob("manifest.json")))
    found = [stage for stage in paths if any(fnmatch(stage, pattern) for pattern in patterns)]
    for pattern in patterns:
        if not any(fnmatch(stage, pattern) for stage in found):
            raise KitError(f"{name} ended, but no stage {pattern} has a manifest: its stage was left out")
    return {stage: sha256_of(read_manifest(run, stage)) for stage in found}


def _execute(source: Path, target: Path, parameters: Mapping[str, Any], root: Path) -> None:
    import papermill
    from nbclient.exceptions import DeadKernelError

    os.environ.update({name: os.environ.get(name, value) for name, value in _SURROUNDINGS.items()})
    started = time.monotonic()
    print(f"{source.stem}: running", flush=True)
    with clear_faults(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.with_suffix(".json").unlink(missing_ok=True)
        try:
            papermill.execute_notebook(
                source, target, dict(parameters), kernel_name="python3", cwd=root, progress_bar=False,
                stdout_file=_Indented(), extra_arguments=_QUIET,
            )  # fmt: skip
        except papermill.PapermillExecutionError as fault:
            raise KitError(_failure(source.name, target, fault)) from None
        except DeadKernelError:
            cause = "the kernel died, most often for lack of memory"
            raise KitError(f"{source.name}: {cause}; {target} tells in which cell") from None
    print(f"{source.stem}: finished in {time.monotonic() - started:.0f} s", flush=True)


def _failure(name: str, target: Path, fault: Any) -> str:
    lines = [line for line in str(fault.evalue).splitlines() if line.strip()]
    reason = lines[0] if lines else "no message"
    kind = "" if fault.ename == "KitError" else f"{fault.ename}: "
    return f"{kind}{reason} ({name}, cell [{fault.exec_count}]; the executed notebook is {target})"


def _say_nothing_to_do(run: Path) -> None:
    print(
        f"nothing to do: every stage is done; delete {run}, or take another SEED, to start anew",
        flush=True,
    )
    present = kit_hash()
    if any(read_json(path).get("kit", present) != present for path in run.rglob("manifest.json")):
        print("note: the code of mtsql_lib has changed since some of these stages were run", flush=True)


class _Indented:
    """Standard output of the cells, a little to the right of the runner's own lines."""

    def __init__(self) -> None:
        self._fresh = True

    def write(self, text: str) -> int:
        for line in text.splitlines(keepends=True):
            sys.stdout.write(f"  {line}" if self._fresh and line.strip() else line)
            self._fresh = line.endswith("\n")
        return len(text)

    def flush(self) -> None:
        sys.stdout.flush()
