"""`doctor`: is this machine ready for a profile? One line a finding: ok, or what to do.

It looks at the installation, SQLite, the data, the templates, the tokenizer, the model, disk and memory, and
estimates what the GPU profiles would take. It changes nothing and mends nothing. Torch is imported only where
a small model is there to be loaded or a GPU profile asks for a card.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from importlib import metadata, util
from pathlib import Path

from mtsql_lib.config import Profile, profile_names, where_data, where_model
from mtsql_lib.errors import KitError
from mtsql_lib.estimate import ASSUMPTIONS, Card, estimate, shape_of

ROOT = Path(__file__).parent.parent
_SQLITE = (3, 35)  # older ones lack functions that the executor's allow-list and the corpora count on
_LOADED = 200e6  # bytes of weights up to which the model is really loaded
_MEMORY = {
    "float32": 4e9,
    "bfloat16": 32e9,
}  # bytes: torch, trl and a kernel; and the CPU side of large models
_DISK = {"float32": 2e9, "bfloat16": 200e9}  # bytes: store, executed notebooks, checkpoints


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, what was found, and what to do about it ("" if it is well)."""

    name: str
    found: str
    remedy: str = ""

    @property
    def ok(self) -> bool:
        """Nothing has to be done."""
        return not self.remedy

    def __str__(self) -> str:
        text = f"{'ok  ' if self.ok else 'MEND'}  {self.name:<12} {self.found}"
        return text if self.ok else f"{text}: {self.remedy}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `doctor`."""
    parser.add_argument(
        "--profile",
        default="laptop",
        help="profile to be ready for: %(default)s, " + ", ".join(profile_names()),
    )


def main(args: argparse.Namespace) -> int:
    """Print every finding as soon as it is there; 1 if something is to be mended."""
    bad = 0
    for finding in examine(Profile.load(args.profile)):
        print(finding, flush=True)
        bad += not finding.ok
    print("everything is well" if not bad else f"{bad} to mend")
    return int(bool(bad))


def examine(profile: Profile, root: Path = ROOT) -> Iterator[Finding]:
    """All findings for a profile, in order; the profile's paths are relative to `root`, the kit's folder."""
    where = {"corpora": str(root / profile.data.corpora), "databases": str(root / profile.data.databases)}
    model = replace(profile.model, path=str(root / profile.model.path))
    profile = replace(profile, data=replace(profile.data, **where), model=model)
    checks: dict[str, Callable[[], Iterable[Finding]]] = {
        "python": _python,
        "packages": _packages,
        "sqlite": _sqlite,
        "checksums": partial(_checksums, Path(profile.data.corpora)),
        "databases": partial(_databases, profile),
        "gold": partial(_gold, profile),
        "templates": _templates,
        "tokenizer": partial(_tokenizer, profile),
        "model": partial(_model, Path(profile.model.path)),
        "disk": partial(_disk, profile, root),
        "memory": partial(_memory, profile),
        "gpu": partial(_gpu, profile),
    }
    for name, check in checks.items():
        try:
            yield from check()
        except KitError as fault:
            yield Finding(name, "not usable", str(fault))
        except Exception as fault:  # a check that breaks is a finding, and the others still count
            yield Finding(name, f"the check broke ({type(fault).__name__}: {fault})", "mend or report this")


def _python() -> Iterator[Finding]:
    found = f"{sys.version.split()[0]} at {sys.executable}"
    right = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield Finding("python", found, "" if right else "use Python 3.11 or 3.12")


def _packages() -> Iterator[Finding]:
    from packaging.requirements import Requirement

    wanted = [Requirement(text) for text in metadata.requires("mtsql-lib") or () if "extra ==" not in text]
    right = []
    for requirement in wanted:
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            yield Finding("packages", f"{requirement.name} is missing", "rm .venv/.installed, then make test")
            continue
        if requirement.specifier.contains(version.split("+")[0], prereleases=True):
            right.append(f"{requirement.name} {version}")
        else:
            found = f"{requirement.name} {version} where {requirement.specifier} is needed"
            yield Finding("packages", found, "rm .venv/.installed, then make test")
    yield Finding("packages", ", ".join(right))


def _sqlite() -> Iterator[Finding]:
    with sqlite3.connect(":memory:") as connection:
        options = {row[0] for row in connection.execute("PRAGMA compile_options")}
        (source,) = connection.execute("SELECT sqlite_source_id()").fetchone()
    threads = next((option for option in options if option.startswith("THREADSAFE")), "THREADSAFE=?")
    found = f"{sqlite3.sqlite_version}, source {source[:19]}, {threads}"
    old = sqlite3.sqlite_version_info < _SQLITE
    needed = ".".join(map(str, _SQLITE))
    yield Finding("sqlite", found, f"use a Python with SQLite {needed} or newer" if old else "")
    if threads == "THREADSAFE=0":
        yield Finding("sqlite", "built without threads", "use a Python whose SQLite has THREADSAFE=1")


def _checksums(corpora: Path) -> Iterator[Finding]:
    listed = corpora / "SHA256SUMS"
    if not listed.is_file():
        yield Finding("checksums", f"{corpora} has no SHA256SUMS: nothing to compare")
        return
    entries = [
        line.split(maxsplit=1) for line in listed.read_text(encoding="utf-8").splitlines() if line.strip()
    ]
    changed = [name for digest, name in entries if _digest(corpora / name) != digest]
    found = f"{len(entries) - len(changed)} of {len(entries)} files of {listed} are as they should be"
    yield Finding("checksums", found, f"{_some(changed)} differ; make data builds them" if changed else "")


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _databases(profile: Profile) -> Iterator[Finding]:
    from mtsql_lib.schema import read_schema

    folder = Path(profile.data.databases)
    names = sorted(path.name for path in folder.glob("*") if path.is_dir())
    if not names:
        yield Finding("databases", f"none in {folder}", where_data(profile))
        return
    broken = 0
    for name in names:
        try:
            read_schema(folder, name)
            _sound(folder / name / f"{name}.sqlite")
        except (KitError, sqlite3.Error) as fault:
            broken += 1
            yield Finding("databases", f"{name} does not open", str(fault))
    if not broken:
        yield Finding("databases", f"{len(names)} in {folder} open and are sound")


def _sound(path: Path) -> None:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        (verdict,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    finally:
        connection.close()
    if verdict != "ok":
        raise KitError(f"{path} is damaged ({verdict}): take a fresh copy")


def _gold(profile: Profile) -> Iterator[Finding]:
    from mtsql_lib.dialogues import find_split, questions, read_dialogues
    from mtsql_lib.scoring import Judge

    corpora = Path(profile.data.corpora)
    for name in profile.data.test:
        if not (corpora / name).is_dir():
            yield Finding("gold", f"corpus {name} is not in {corpora}", where_data(profile))
            continue
        tables = corpora / name / "tables.json"
        judge = Judge(Path(profile.data.databases), tables if tables.is_file() else None)
        asked = questions(read_dialogues(find_split(corpora / name, "dev")))
        scores = [(question.id, judge.score(question, question.gold)) for question in asked]
        judge.executor.close()
        broken = [question for question, s in scores if s.status == "gold_failed"]
        wrong = [question for question, s in scores if s.status != "gold_failed" and not (s.ex and s.em)]
        ex, em = (sum(getattr(s, metric) for _, s in scores) for metric in ("ex", "em"))
        found = f"{name}: gold against gold EX {ex}, EM {em} of {len(asked)} development questions"
        found += f"; the gold query of {_some(broken)} does not run" if broken else ""
        # the published sets hold queries that do not run; the bundled ones do not
        bad = wrong or (broken if (corpora / "SHA256SUMS").is_file() else [])
        remedy = f"{_some(bad)} must be right: take fresh data" if bad else ""
        yield Finding("gold", found, remedy if asked else "give a development set with questions")


def _where_data(profile: Profile) -> str:
    if profile.model.dtype == "float32":
        return "make data builds the bundled corpora"
    return f"put SParC, CoSQL and Spider's databases below {profile.data.corpora}"


def _templates() -> Iterator[Finding]:
    from mtsql_lib.predicates import STYLES, template_faults

    faults = [fault for style in STYLES for fault in template_faults(style)]
    found = f"{' and '.join(STYLES)}: turns open and close, spans hold the end of turn"
    yield Finding("templates", "; ".join(faults) or found, "restore mtsql_lib/templates" if faults else "")


def _tokenizer(profile: Profile) -> Iterator[Finding]:
    from mtsql_lib.predicates import codec_faults
    from mtsql_lib.tokens import load_codec

    if (missing := _no_model(Path(profile.model.path))) is not None:
        yield missing("tokenizer")
        return
    codec = load_codec(profile.model.path)
    faults = codec_faults(codec, profile.rollout.templates)
    found = f"{codec.vocab_size} tokens, end of turn {codec.end_of_turn}, pad {codec.pad}, prefixes are kept"
    remedy = "take a fresh copy of the tokenizer" if faults else ""
    yield Finding("tokenizer", "; ".join(faults) or found, remedy)


def _no_model(folder: Path) -> Callable[[str], Finding] | None:
    if (folder / "config.json").is_file():
        return None
    return partial(Finding, found=f"there is no model in {folder}", remedy=where_model(folder))


def _model(folder: Path) -> Iterator[Finding]:
    if (missing := _no_model(folder)) is not None:
        yield missing("model")
        return
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kind = ", ".join(config.get("architectures") or ["no architecture"])
    weights = sorted(folder.glob("*.safetensors"))
    size = sum(path.stat().st_size for path in weights)
    for path in weights:
        if (fault := weights_fault(path)) is not None:
            yield Finding("model", f"{path} {fault}", "take a fresh copy")
            return
    if not weights:
        yield Finding("model", f"{folder} has no *.safetensors", "take a fresh copy")
    elif size > _LOADED or not all(util.find_spec(name) for name in ("torch", "transformers")):
        yield Finding("model", f"{kind}, {size / 1e6:.0f} MB of whole weights, not loaded")
    else:
        yield Finding("model", f"{kind}, {_load(folder):,} weights, {size / 1e6:.0f} MB, loads")


def weights_fault(path: Path) -> str | None:
    """What is wrong with a safetensors file, from its header and length alone; None if it is whole."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(min(length, 100_000_000)))
            end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        except (ValueError, KeyError, TypeError, AttributeError):
            return "is no safetensors file"
    whole = 8 + length + end
    return None if path.stat().st_size == whole else f"has {path.stat().st_size} bytes where {whole} are due"


def _load(folder: Path) -> int:
    from transformers import AutoModelForCausalLM
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    return AutoModelForCausalLM.from_pretrained(folder, local_files_only=True).num_parameters()


def _disk(profile: Profile, folder: Path) -> Iterator[Finding]:
    free, needed = shutil.disk_usage(folder).free, _DISK[profile.model.dtype]
    remedy = f"make room: a run takes up to {needed / 1e9:.0f} GB" if free < needed else ""
    yield Finding("disk", f"{free / 1e9:.0f} GB free in {folder}", remedy)
    if not os.access(folder, os.W_OK):
        yield Finding("disk", f"{folder} cannot be written", "put the kit into a folder of your own")


def _memory(profile: Profile) -> Iterator[Finding]:
    free, needed = _available(), _MEMORY[profile.model.dtype]
    remedy = f"close programs: a run takes about {needed / 1e9:.0f} GB" if free < needed else ""
    yield Finding("memory", f"{free / 1e9:.1f} GB available, {os.cpu_count()} cores", remedy)


def _available() -> float:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024.0 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux: all of it is the best that is known
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def _gpu(profile: Profile) -> Iterator[Finding]:
    large = [p for p in map(Profile.load, profile_names()) if p.model.dtype == "bfloat16"]
    for other in large:
        asked = other.name == profile.name
        card = _card() if asked else Card()
        if card is None:
            yield Finding("gpu", "no GPU here", f"{other.name} needs one; PROFILE=laptop runs on the CPU")
            card = Card()
        shape = shape_of(other.model.path)
        if shape is None:
            yield Finding("gpu", f"{other.name}: unknown model", f"put a model into {other.model.path}")
            continue
        found = estimate(other, shape, card)
        remedy = "" if found.fits or not asked else "set model.lora_rank, or use a larger card"
        yield Finding("gpu", f"{other.name}: {found}", remedy)
    if profile in large:
        yield Finding("gpu", "the estimates assume\n" + ASSUMPTIONS)


def _card() -> Card | None:
    import torch

    there = torch.cuda.is_available()
    return Card(torch.cuda.get_device_properties(0).total_memory) if there else None
