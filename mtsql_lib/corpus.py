"""The bundled corpora: databases and two sets of dialogues, drawn from hand-written sources by a seed.

`build` writes the Spider layout: `database/<id>/<id>.sqlite`, and in `steps/` (goal-driven, like SParC) and
`talk/` (a person talking, like CoSQL) `tables.json`, `train.json` and `dev.json`; beside them a card and
checksums. The same sources and seed give the same bytes on every machine. `check` proves a copy. What the
dialogues are made of is the business of `world/moves.py`; nothing here depends on the order of a set or on
SQLite's version.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mtsql_lib.corpus_card import card_text, summary_lines
from mtsql_lib.dialogues import read_dialogues
from mtsql_lib.errors import KitError
from mtsql_lib.world.moves import DraftTurn, draft_on
from mtsql_lib.world.query import to_sql
from mtsql_lib.world.scene import Scene
from mtsql_lib.world.spec import DatabaseSpec, TableSpec, load_spec, populate

SEED = 20261121
STYLES = ("steps", "talk")
SPLITS = ("train", "dev")
MINIMUM = {"train": 3000, "dev": 600}
_AIM = {"train": 3300, "dev": 640}
_TYPES = {
    "key": "number",
    "ref": "number",
    "number": "number",
    "year": "time",
    "date": "time",
    "flag": "boolean",
}
# What the header of a database file says of its writer: change counter, version-valid-for, SQLite's version.
_HEADER = ((24, (1).to_bytes(4, "big")), (92, (1).to_bytes(4, "big")), (96, (3040000).to_bytes(4, "big")))
# Page types of SQLite's file format: index and table, interior and leaf.
_PAGE, _INTERIOR, _BTREE = 4096, (2, 5), (2, 5, 10, 13)
# Builds of SQLite differ in these; without secure_delete a page keeps bytes of rows that were moved away.
_SETTINGS = (f"page_size = {_PAGE}", "auto_vacuum = NONE", "encoding = 'UTF-8'", "secure_delete = ON")


@dataclass(frozen=True)
class BuildReport:
    """What a build or a check found: lines to read, and the questions of each corpus and split."""

    lines: tuple[str, ...]
    questions: dict[str, int]

    def __str__(self) -> str:
        return "\n".join(self.lines)


def build(sources: Path, out: Path, seed: int = SEED, aim: dict[str, int] | None = None) -> BuildReport:
    """Write both corpora under `out`; `aim` is the number of questions of a split (None: the usual).

    Everything is made in a folder inside `out` and moved into place at the end, so an interrupted build
    leaves the old corpora as they were. Raises KitError for a source that cannot be used.
    """
    sources, out = Path(sources), Path(out)
    specs = [load_spec(path) for path in sorted(sources.glob("*.toml"))]
    if not {spec.split for spec in specs} >= set(SPLITS):
        raise KitError(f"{sources} needs databases of both splits, train and dev; found {len(specs)} files")
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".corpus-", dir=out) as folder:
        work = Path(folder)
        _write_all(specs, work, seed, aim or _AIM)
        for entry in sorted(work.iterdir()):
            target = out / entry.name
            if target.is_dir():
                shutil.rmtree(target)
            entry.replace(target)
    return check(out, complete=aim is None)


def check(out: Path, complete: bool = True) -> BuildReport:
    """Prove a copy: checksums, every gold query runs, minimal counts (if `complete`), no two dialogues alike.

    Raises KitError with the first thing that is wrong.
    """
    out = Path(out)
    _check_sums(out)
    questions: dict[str, int] = {}
    for style in STYLES:
        for split in SPLITS:
            count = _check_golds(out, style, split)
            if complete and count < MINIMUM[split]:
                raise KitError(
                    f"{out / style / split}.json has {count} questions, fewer than {MINIMUM[split]}"
                )
            questions[f"{style}/{split}"] = count
    _check_distinct(out)
    return BuildReport(
        (*summary_lines(out), f"checksums, {sum(questions.values())} gold queries: fine"), questions
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `data build` and `data check`."""
    parser.add_argument(
        "action", choices=("build", "check"), help="build the corpora, or prove the ones that are there"
    )
    parser.add_argument(
        "--sources", type=Path, default=Path("data/sources"), help="folder of database sources"
    )
    parser.add_argument("--out", type=Path, default=Path("data"), help="folder of the corpora")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of rows and dialogues (build)")


def main(args: argparse.Namespace) -> int:
    """Run `data build` or `data check` and print what is there."""
    print(build(args.sources, args.out, args.seed) if args.action == "build" else check(args.out))
    return 0


def _write_all(specs: list[DatabaseSpec], out: Path, seed: int, aim: dict[str, int]) -> None:
    scenes = []
    for spec in specs:
        connection = populate(spec, random.Random(f"{seed}/{spec.id}"))
        write_database(spec, connection, out / "database" / spec.id / f"{spec.id}.sqlite")
        scenes.append(Scene(spec, connection))
    taken: set[str] = set()
    for style in STYLES:
        (out / style).mkdir()
        _write_lines(out / style / "tables.json", [tables_entry(scene.spec) for scene in scenes])
        for split in SPLITS:
            ours = [scene for scene in scenes if scene.spec.split == split]
            dialogues = list(_dialogues(ours, style, split, seed, aim[split], taken))
            _write_lines(out / style / f"{split}.json", dialogues)
    for scene in scenes:
        scene.connection.close()
    (out / "CARD.md").write_text(card_text(out, specs, seed), encoding="utf-8")
    files = sorted(path for path in out.rglob("*") if path.is_file())
    sums = [f"{_digest(path)}  {path.relative_to(out).as_posix()}\n" for path in files]
    (out / "SHA256SUMS").write_text("".join(sums), encoding="utf-8")


def _dialogues(
    scenes: list[Scene], style: str, split: str, seed: int, aim: int, taken: set[str]
) -> Iterator[dict]:
    """Dialogues until `aim` questions are there, the databases in turn, none like one that is `taken`."""
    sources = [(scene, random.Random(f"{seed}/{scene.spec.id}/{style}/{split}")) for scene in scenes]
    found: list[tuple[str, list[DraftTurn]]] = []
    count = tries = 0
    while count < aim:
        scene, rng = sources[len(found) % len(sources)]
        turns = draft_on(scene, rng, style, split)
        tries += 1
        if tries > 100 * aim:
            raise KitError(
                f"database {scene.spec.id} gives no more new dialogues; add values, columns or tables"
            )
        marks = {normal(" ".join(t.utterance for t in turns)), " ; ".join(to_sql(t.query) for t in turns)}
        if len(turns) < 2 or marks & taken:
            continue
        taken |= marks
        found.append((scene.spec.id, turns))
        count += len(turns)
    for number, (database, turns) in enumerate(sorted(found, key=lambda pair: pair[0])):
        yield _entry(f"{style}_{split}_{number:04d}", database, turns)


def _entry(identifier: str, database: str, turns: list[DraftTurn]) -> dict:
    interaction = [
        {"utterance": t.utterance, "query": to_sql(t.query), "relation": t.relation, "causes": list(t.causes)}
        for t in turns
    ]
    final = {key: interaction[-1][key] for key in ("utterance", "query")}
    return {"id": identifier, "database_id": database, "interaction": interaction, "final": final}


def normal(text: str) -> str:
    """Text without letter case, punctuation and spacing: two dialogues that agree in it count as alike."""
    return " ".join(re.findall(r"[^\W_]+", text.lower()))


def write_database(spec: DatabaseSpec, connection: sqlite3.Connection, path: Path) -> None:
    """Copy a database to a file whose bytes depend on its content alone."""
    path.parent.mkdir(parents=True)
    target = sqlite3.connect(path)
    try:
        for setting in _SETTINGS:
            target.execute(f"PRAGMA {setting}")
        for table in spec.tables:
            target.execute(
                connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table.name,)).fetchone()[
                    0
                ]
            )
            marks = ", ".join("?" * len(table.columns))
            target.executemany(
                f"INSERT INTO {table.name} VALUES ({marks})",
                connection.execute(f"SELECT * FROM {table.name}"),
            )
        target.commit()
        target.execute("VACUUM")
    finally:
        target.close()
    content = bytearray(path.read_bytes())
    for start, constant in _HEADER:
        content[start : start + len(constant)] = constant
    _clear_gaps(content)
    path.write_bytes(content)


def _clear_gaps(content: bytearray) -> None:
    """Zero the unused space of every b-tree page, where builds of SQLite leave different remains."""
    for page in range(0, len(content), _PAGE):
        head = page or 100  # the first page begins with the header of the file
        if content[head] not in _BTREE:
            continue
        cells = int.from_bytes(content[head + 3 : head + 5], "big")
        gap = head + (12 if content[head] in _INTERIOR else 8) + 2 * cells
        used = page + int.from_bytes(content[head + 5 : head + 7], "big")
        content[gap:used] = bytes(max(0, used - gap))


def tables_entry(spec: DatabaseSpec) -> dict:
    """A database in the layout of Spider's `tables.json`."""
    places = {(t.name, c.name): n for n, (t, c) in enumerate(_columns(spec), start=1)}
    tables = [table.name for table in spec.tables]
    names = [[tables.index(t.name), c.name] for t, c in _columns(spec)]
    keys = [places[t.name, c.name] for t, c in _columns(spec) if c.kind == "key"]
    links = [
        [places[t.name, c.name], places[c.to, spec.table(c.to).key.name]]
        for t, c in _columns(spec)
        if c.kind == "ref"
    ]
    return {
        "db_id": spec.id,
        "table_names": [_plain(name) for name in tables],
        "table_names_original": tables,
        "column_names": [[-1, "*"], *([table, _plain(name)] for table, name in names)],
        "column_names_original": [[-1, "*"], *names],
        "column_types": ["text", *(_TYPES.get(c.kind, "text") for _, c in _columns(spec))],
        "primary_keys": keys,
        "foreign_keys": links,
    }


def _columns(spec: DatabaseSpec) -> list[tuple[TableSpec, object]]:
    return [(table, column) for table in spec.tables for column in table.columns]


def _plain(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name).lower()


def _write_lines(path: Path, entries: list[dict]) -> None:
    lines = ",\n".join(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) for entry in entries)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _check_sums(out: Path) -> None:
    try:
        lines = (out / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise KitError(
            f"no corpora in {out}: SHA256SUMS is missing; build them with `python -m mtsql_lib data build`"
        ) from None
    for line in lines:
        digest, _, name = line.partition("  ")
        if not (out / name).is_file():
            raise KitError(f"{out / name} is missing; build the corpora again")
        if _digest(out / name) != digest:
            raise KitError(f"{out / name} has changed: its checksum is not that of SHA256SUMS; build again")


def _check_golds(out: Path, style: str, split: str) -> int:
    """The number of questions of a split; every gold must run, and give rows unless marked as vacuous."""
    connections: dict[str, sqlite3.Connection] = {}
    count = 0
    try:
        for dialogue in read_dialogues(out / style / f"{split}.json"):
            path = out / "database" / dialogue.database_id / f"{dialogue.database_id}.sqlite"
            if dialogue.database_id not in connections:
                connections[dialogue.database_id] = sqlite3.connect(
                    f"{path.resolve().as_uri()}?mode=ro", uri=True
                )
            for number, turn in enumerate(dialogue.turns):
                rows = connections[dialogue.database_id].execute(turn.sql).fetchall()
                if not rows and "vacuous" not in turn.causes:
                    raise KitError(
                        f"{style}/{split}.json, {dialogue.id}/{number}: the gold query gives no rows"
                    )
                count += 1
    except sqlite3.Error as fault:
        raise KitError(
            f"{style}/{split}.json, {dialogue.id}/{number}: the gold query fails: {fault}"
        ) from fault
    finally:
        for connection in connections.values():
            connection.close()
    return count


def _check_distinct(out: Path) -> None:
    seen: dict[str, str] = {}
    for style in STYLES:
        for split in SPLITS:
            for dialogue in read_dialogues(out / style / f"{split}.json"):
                text = normal(" ".join(turn.utterance for turn in dialogue.turns))
                if text in seen:
                    raise KitError(
                        f"dialogues {seen[text]} and {dialogue.id} are alike; build with another seed"
                    )
                seen[text] = dialogue.id
