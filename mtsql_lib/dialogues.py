"""Dialogues and questions: what every stage starts from, and the reader of the SParC and CoSQL layouts.

A question is one episode's task: the dialogue so far, what is asked now, and the gold SQL. What was left out:
the `final` goal of a SParC dialogue, which the benchmarks do not score (`docs/deviations.md`).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from mtsql_lib.errors import KitError


@dataclass(frozen=True)
class Turn:
    """One question of a dialogue with its gold SQL; the bundled corpora also know its relation and causes."""

    utterance: str
    sql: str
    relation: str = ""
    causes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Dialogue:
    """The turns that one person takes on one database."""

    id: str
    database_id: str
    turns: tuple[Turn, ...]


@dataclass(frozen=True)
class Question:
    """One turn as a task: `history` holds the earlier turns with their gold SQL; `turn` counts from 0."""

    id: str
    dialogue_id: str
    turn: int
    database_id: str
    history: tuple[Turn, ...]
    utterance: str
    gold: str
    causes: tuple[str, ...] = ()
    relation: str = ""

    def _repr_html_(self) -> str:
        from html import escape

        rows = [*((t.utterance, t.sql) for t in self.history), (self.utterance, self.gold)]
        cells = "".join(f"<tr><td>{escape(u)}</td><td><code>{escape(s)}</code></td></tr>" for u, s in rows)
        return f"<b>{escape(self.id)}</b> on <i>{escape(self.database_id)}</i><table>{cells}</table>"


def questions(dialogues: list[Dialogue]) -> list[Question]:
    """Every turn of every dialogue as a question, in order."""
    return [
        Question(f"{d.id}/{n}", d.id, n, d.database_id, d.turns[:n], t.utterance, t.sql, t.causes, t.relation)
        for d in dialogues
        for n, t in enumerate(d.turns)
    ]


def read_dialogues(path: str | Path, skipped: list[str] | None = None) -> list[Dialogue]:
    """Read one split file in the SParC or CoSQL layout.

    Raises KitError, naming file and position, if the file is missing, is not JSON, lacks a field or has an id
    twice. A turn without an utterance (some exist in rebuilt training data) is such a fault: there is nothing
    to ask. With a list as `skipped`, a faulty dialogue is left out and its fault put there, to be reported.
    """
    path = Path(path)
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise KitError(f"no dialogues at {path}: give a folder in SParC or CoSQL layout") from None
    except OSError as fault:
        raise KitError(f"{path} cannot be read ({fault.strerror}): check its permissions") from None
    except (ValueError, RecursionError) as fault:
        raise KitError(f"{path} is not readable JSON ({fault}): take a fresh copy") from None
    if not isinstance(entries, list):
        raise KitError(f"{path} holds a {type(entries).__name__} where a list of dialogues is expected")
    dialogues = []
    for number, entry in enumerate(entries):
        try:
            dialogues.append(_dialogue(entry, number, path))
        except KitError as fault:
            if skipped is None:
                raise
            skipped.append(str(fault))
    counted = Counter(dialogue.id for dialogue in dialogues)
    if twice := [name for name, count in counted.items() if count > 1]:
        raise KitError(f"{path} has {counted[twice[0]]} dialogues with the id {twice[0]}: give each its own")
    return dialogues


def find_split(folder: str | Path, split: str) -> Path:
    """The file of a split in a dataset folder: `dev.json`, `cosql_dev.json` or as CoSQL is published.

    Raises KitError that says what was looked for.
    """
    folder = Path(folder)
    names = [f"{prefix}{split}.json" for prefix in ("", "cosql_", "sparc_", "sql_state_tracking/cosql_")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise KitError(f"no {split} split in {folder}: looked for {', '.join(names)}")


def _dialogue(entry: dict, number: int, path: Path) -> Dialogue:
    where = f"{path}, dialogue {number}"
    if not isinstance(entry, dict):
        raise KitError(f"{where} is a {type(entry).__name__} where a JSON object is expected")
    turns, database = _field(entry, "interaction", list, where), _field(entry, "database_id", str, where)
    name = str(entry.get("id", f"{path.stem}_{number:04d}"))
    return Dialogue(name, database, tuple(_turn(t, f"{where}, turn {n}") for n, t in enumerate(turns)))


def _turn(turn: dict, where: str) -> Turn:
    if not isinstance(turn, dict):
        raise KitError(f"{where} is a {type(turn).__name__} where a JSON object is expected")
    utterance, sql = _field(turn, "utterance", str, where), _field(turn, "query", str, where)
    if not utterance.strip() or not sql.strip():
        raise KitError(f"{where} has no utterance or no query: leave the dialogue out")
    return Turn(utterance, sql, turn.get("relation") or "", tuple(turn.get("causes") or ()))


def _field(record: dict, name: str, kind: type, where: str):
    if not isinstance(record.get(name), kind):
        raise KitError(f"{where}: {name} is missing or no {kind.__name__}")
    return record[name]
