"""The run's memory: every episode and figure in one SQLite file, and a manifest for each finished stage.

`run.db` is made by sqlite-utils and read by the `sqlite-utils` command or Datasette: table `episodes` holds
ids, mask, log-probs, tool log, verdicts and reward components, table `metrics` the curves. A stage counts
as done when its manifest is written, which happens last and atomically; the manifest carries hashes of what
went in and what came out, so that a finished stage is skipped, a changed one is done anew and an
interrupted one goes on from what it has kept. Left out: a change of the kit's own code is recorded, but
makes no stage stale.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import resource
import shutil
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mtsql_lib.errors import KitError, disk_fault

_PACKAGES = ("torch", "transformers", "trl", "peft", "numpy")
_KEY = ("stage", "question_id", "sample")
_MARKS = ("begun.json", "manifest.json")  # of a stage's own, never among its outputs
_OF_STAGE = "(stage = ? or stage like ? || '/%')"  # a stage owns the rows of its parts, "evaluation/steps"


class RunStore:
    """Episodes and metrics of one run, in `<folder>/run.db`."""

    def __init__(self, path: str | Path):
        import sqlite_utils

        self.path = Path(path)
        with clear_faults(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30)
            connection.execute("PRAGMA journal_mode = WAL")
            self.db = sqlite_utils.Database(connection)
            self._create()

    def add_episodes(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add episodes in one transaction; the same stage, question and sample again replaces them."""
        with clear_faults(self.path), self.db.conn:
            self.db["episodes"].upsert_all(rows, pk=_KEY)

    def episodes(self, stage: str) -> Iterator[dict[str, Any]]:
        """The episodes of a stage, ordered by question and sample."""
        yield from self.db["episodes"].rows_where("stage = ?", [stage], order_by="question_id, sample")

    def add_metrics(self, stage: str, step: int, values: dict[str, float]) -> None:
        """Figures of one step of a stage; the same step again replaces them."""
        rows = ({"stage": stage, "step": step, "name": name, "value": v} for name, v in values.items())
        with clear_faults(self.path), self.db.conn:
            self.db["metrics"].upsert_all(rows, pk=("stage", "step", "name"))

    def metrics(self, stage: str, name: str) -> list[tuple[int, float]]:
        """(step, value) of one figure of a stage, in order."""
        rows = self.db["metrics"].rows_where("stage = ? and name = ?", [stage, name], order_by="step")
        return [(row["step"], row["value"]) for row in rows]

    def forget(self, stage: str) -> None:
        """Delete what a stage left: its inputs have changed."""
        with clear_faults(self.path), self.db.conn:
            for table in ("episodes", "metrics"):
                self.db[table].delete_where(_OF_STAGE, [stage, stage])

    def digest(self, stage: str) -> str:
        """sha256 over a stage's episodes in order: ids, mask and answer; "" if it has none."""
        return _digest(self.db.conn, stage)

    def close(self) -> None:
        """Close the file."""
        self.db.close()

    def _create(self) -> None:
        text = ("question_id", "stage", "database_id", "mode", "stop", "answer", "ids", "mask", "logprobs")
        text += ("log", "verdicts", "episode", "hardness", "status")
        whole = ("sample", "turn", "messages", "calls", "sampled_tokens", "ex", "em")
        whole += ("ex_strict", "em_strict")
        real = ("reward_ex", "reward_em", "reward_propose", "reward_execute", "reward_memory", "reward_total")
        columns = {**dict.fromkeys(text, str), **dict.fromkeys(whole, int), **dict.fromkeys(real, float)}
        self.db["episodes"].create(columns, pk=_KEY, if_not_exists=True)
        figure = {"stage": str, "step": int, "name": str, "value": float}
        self.db["metrics"].create(figure, pk=("stage", "step", "name"), if_not_exists=True)


@dataclass
class Stage:
    """One stage while it runs: say what it counts and which files it makes.

    `fresh`: it is done and nothing has changed. `resumed`: an interrupted attempt with the same inputs left
    rows and files, which are still there.
    """

    name: str
    folder: Path
    fresh: bool
    resumed: bool = False
    manifest: dict[str, Any] = field(default_factory=dict)
    counts: dict[str, Any] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)

    def produced(self, path: str | Path) -> None:
        """Record a file of this stage (a folder: each file in it) with its sha256."""
        path = Path(path)
        files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
        for file in (f for f in files if f.parent != self.folder or f.name not in _MARKS):
            self.outputs[os.path.relpath(file, self.folder.parent)] = sha256_file(file)


@contextmanager
def stage(
    run_folder: str | Path, name: str, *, inputs: dict[str, str], config: dict[str, Any], seed: int
) -> Iterator[Stage]:
    """A stage of a run as a context: the caller skips the work if `fresh`; a block without an error ends in
    a manifest.

    `inputs` maps names to hashes (`sha256_file`, `sha256_folder`, `sha256_of`); together with `config` and
    `seed` they decide whether an old manifest still holds. If they have changed, or an output is missing or
    altered, all that the stage left (its folder and its rows) is deleted before the block runs. Raises
    KitError where nothing can be written.
    """
    run_folder, folder = Path(run_folder), Path(run_folder) / name
    key = sha256_of({"inputs": inputs, "config": config, "seed": seed})
    old = read_manifest(run_folder, name)
    if old and old["key"] == key and is_intact(run_folder, old):
        print(f"{name}: done already ({old['finished']}), nothing to do", flush=True)
        yield Stage(name, folder, fresh=True, manifest=old)
        return
    resumed = not old and read_json(folder / "begun.json").get("key") == key
    if not resumed:
        _clear(run_folder, name)
    atomic_write(folder / "begun.json", json.dumps({"key": key}))
    started = time.time()
    current = Stage(name, folder, fresh=False, resumed=resumed)
    with clear_faults(folder):
        yield current
    current.manifest = {
        "stage": name, "key": key, "inputs": inputs, "config": config, "seed": seed,
        "counts": current.counts, "outputs": current.outputs, "episodes": _stored_digest(run_folder, name),
        "resumed": resumed, "seconds": round(time.time() - started, 1),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"), "peak_mb": _peak_mb(), **_surroundings(),
    }  # fmt: skip
    atomic_write(folder / "manifest.json", json.dumps(current.manifest, indent=1, ensure_ascii=False) + "\n")
    (folder / "begun.json").unlink(missing_ok=True)


def _peak_mb() -> int:
    """The largest resident memory of this process so far, in MB (Linux counts in KiB, macOS in bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1e6 if sys.platform == "darwin" else 1e6 / 1024))


def read_manifest(run_folder: str | Path, name: str) -> dict[str, Any]:
    """The manifest of a stage, {} if it has none (or an unreadable one, which counts as none)."""
    manifest = read_json(Path(run_folder) / name / "manifest.json")
    return manifest if {"key", "outputs", "finished"} <= manifest.keys() else {}


def is_intact(run_folder: str | Path, manifest: dict[str, Any]) -> bool:
    """Whether the files and episodes that a stage made are still those of its manifest."""
    run_folder = Path(run_folder)
    files = ((run_folder / name, digest) for name, digest in manifest["outputs"].items())
    return (
        all(path.is_file() and sha256_file(path) == digest for path, digest in files)
        and _stored_digest(run_folder, manifest["stage"]) == manifest["episodes"]
    )


def atomic_write(path: str | Path, text: str) -> None:
    """Write a file whole or not at all: a new file beside it, flushed to disk, then renamed."""
    path = Path(path)
    fresh = path.with_name(path.name + ".new")
    with clear_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with fresh.open("w", encoding="utf-8") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
        finally:
            fresh.unlink(missing_ok=True)


@contextmanager
def clear_faults(path: str | Path) -> Iterator[None]:
    """Turn a full disk, a missing permission or a damaged store into one sentence that names the place."""
    try:
        yield
    except OSError as fault:
        if mendable := disk_fault(fault, path):
            raise mendable from fault
        raise
    except sqlite3.OperationalError as fault:
        hint = next((hint for word, hint in _HINTS.items() if word in str(fault)), None)
        if hint is None:
            raise
        raise KitError(f"cannot write {path}: {hint}") from fault
    except sqlite3.DatabaseError as fault:
        if type(fault) is not sqlite3.DatabaseError:  # a subclass is a mistake in the code, not in the file
            raise
        raise KitError(f"{path} is damaged ({fault}): delete it and run again") from fault


_HINTS = {
    "full": "the disk is full: free some space",
    "locked": "another process is writing it: wait for it",
    "readonly": "no permission to write: choose another folder",
    "unable to open": "it cannot be opened: check the folder and its permissions",
    "disk I/O": "the disk reports an error: check it and its free space",
}


def sha256_file(path: str | Path) -> str:
    """sha256 of a file's bytes, hexadecimal. Raises KitError if it is missing."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise KitError(f"{path} is missing") from None


def sha256_folder(path: str | Path) -> str:
    """sha256 over the names and bytes of a folder's files."""
    path = Path(path)
    if not path.is_dir():
        raise KitError(f"the folder {path} is missing")
    files = (p for p in sorted(path.rglob("*")) if p.is_file())
    return sha256_of({p.relative_to(path).as_posix(): sha256_file(p) for p in files})


def sha256_of(value: Any) -> str:
    """sha256 of a JSON value in canonical form."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def kit_hash() -> str:
    """sha256 over the library's own code that a run uses: what made the data and the base model does not
    count, their bytes do.
    """
    return sha256_of({p.name: sha256_file(p) for p in sorted(Path(__file__).parent.glob("*.py"))})


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; {} if the file is missing or damaged, as what cannot be read counts as not done."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def _clear(run_folder: Path, name: str) -> None:
    with clear_faults(run_folder / name):
        if (run_folder / name).is_dir():
            shutil.rmtree(run_folder / name)
    if (run_folder / "run.db").is_file():
        store = RunStore(run_folder / "run.db")
        store.forget(name)
        store.close()


def _stored_digest(run_folder: Path, name: str) -> str:
    if not (run_folder / "run.db").is_file():
        return ""
    with clear_faults(run_folder / "run.db"), closing(sqlite3.connect(run_folder / "run.db")) as connection:
        return _digest(connection, name)


def _digest(connection: sqlite3.Connection, name: str) -> str:
    columns = "stage, question_id, sample, ids, mask, answer"
    query = f"select {columns} from episodes where {_OF_STAGE} order by 1, 2, 3"
    digest, rows = hashlib.sha256(), 0
    for row in connection.execute(query, (name, name)):
        digest.update(json.dumps(row).encode())
        rows += 1
    return digest.hexdigest() if rows else ""


def _surroundings() -> dict[str, Any]:
    versions = {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    machine = {"machine": platform.machine(), "cores": os.cpu_count()}
    return {"versions": versions, "kit": kit_hash(), "commit": _commit(), **machine, "command": sys.argv[:3]}


def _commit() -> str | None:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
