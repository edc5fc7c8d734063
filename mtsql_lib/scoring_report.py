"""What the `score` command says: the official table, the same numbers under the papers' names, and what it
hides.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from mtsql_lib.errors import KitError
from mtsql_lib.scoring_files import Pairing
from mtsql_lib.scoring_table import LEVELS, TURNS, VERDICTS, Column, TurnScore, columns, render

_SHOWN = 20  # turns listed where the modes differ; --json has all


class Report:
    """The verdicts on a pair of files.

    `metric` says what execution match is on these databases; `mode` chooses the verdicts of the table.
    """

    def __init__(self, scores: Sequence[TurnScore], pairing: Pairing, mode: str, metric: str) -> None:
        self.scores, self.pairing, self.mode, self.metric = scores, pairing, mode, metric
        self.table = columns(scores, pairing.sessions)

    def __repr__(self) -> str:
        right = self.table["all"]
        return (
            f"Report({right.count} turns: {self.metric} {right.exec:.3f}, exact set match {right.exact:.3f})"
        )

    def text(self) -> str:
        """The report in plain text; its first part is the official table to the character."""
        return "\n".join(
            (render(self.table, self.mode), "", *self._summary(), *self._differences(), *self.notes())
        )

    def _summary(self) -> Iterator[str]:
        yield f"The table shows {self.mode} verdicts; its partial components are official in both modes."
        yield f"{'':46}{'official':>10}{'strict':>10}"
        for level, name in (("all", "question match (QM)"), ("joint_all", "interaction match (IM)")):
            for kind, title in (("exec", self.metric), ("exact", "exact set match")):
                cells = (getattr(self.table[level], verdict) for verdict in (kind, f"{kind}_strict"))
                yield f"{name + ', ' + title:46}" + "".join(f"{cell:>10.4f}" for cell in cells)

    def differing(self) -> list[TurnScore]:
        """The turns on which the two modes disagree."""
        return [s for s in self.scores if (s.exact, s.exec) != (s.exact_strict, s.exec_strict)]

    def _differences(self) -> Iterator[str]:
        found = self.differing()
        if found:
            yield f"The modes differ on {len(found)} turns (dialogue/turn from 0; official > strict):"
        for s in found[:_SHOWN]:
            verdicts = f"exec {s.exec:d} > {s.exec_strict:d}  exact {s.exact:d} > {s.exact_strict:d}"
            yield f"  {s.session}/{s.turn:<4} {verdicts}  {s.db} ({s.status})"
        if len(found) > _SHOWN:
            yield f"  ... and {len(found) - _SHOWN} more; --json FILE lists every turn"

    def notes(self) -> list[str]:
        """What was odd about the files or the gold queries, one sentence each; the SQLite version last."""
        notes = list(self.pairing.notes)
        for turn in self.scores:
            if turn.status != "gold_failed" and turn.hardness != "unknown":
                continue
            where = f"dialogue {turn.session}, turn {turn.turn} ({turn.db}, counted from 0)"
            if turn.status == "gold_failed":
                notes.append(
                    f"gold fails to run in {where}: {turn.message}; it counts as wrong in execution match"
                )
            if turn.hardness == "unknown":
                notes.append(
                    f"gold is outside Spider's grammar in {where}: wrong in exact match, in no level"
                )
        there = [turn for turn in self.scores if turn.status != "missing_prediction"]
        if len(there) < len(self.scores):
            rest = columns(there, self.pairing.sessions)["all"]
            missing = len(self.scores) - len(there)
            notes.append(
                f"the official script would leave out the {missing} turns without a prediction "
                f"and report exec {rest.exec:.3f}, exact {rest.exact:.3f} on {rest.count}"
            )
        notes.append(
            f"SQLite {sqlite3.sqlite_version}: another version may break ties under ORDER BY, LIMIT otherwise"
        )
        return [f"note: {note}" for note in notes]

    def write(self, path: str | Path) -> None:
        """Write `{"turns": [...], "totals": {...}}` as JSON. Raises KitError if it cannot be written."""
        import json

        try:
            with open(path, "w", encoding="utf-8") as file:
                json.dump(
                    {"turns": [_turn(score) for score in self.scores], "totals": self.totals()},
                    file,
                    indent=1,
                )
                file.write("\n")
        except OSError as problem:
            raise KitError(f"{path}: cannot be written ({problem})") from None

    def totals(self) -> dict:
        """All figures of the report as plain values."""
        return {
            "mode": self.mode,
            "metric": self.metric,
            "question_match": self._match("all"),
            "interaction_match": self._match("joint_all"),
            "by_hardness": {level: self._match(level) for level in LEVELS[:-1]},
            "by_turn": {turn: self._match(turn) for turn in TURNS},
            "partial": {level: _partial(self.table[level]) for level in LEVELS},
            "statuses": dict(Counter(score.status for score in self.scores)),
            "differing": [[score.session, score.turn] for score in self.differing()],
            "notes": self.notes(),
        }

    def _match(self, name: str) -> dict:
        column = self.table[name]
        return {"count": column.count, **{verdict: getattr(column, verdict) for verdict in VERDICTS}}


def _partial(column: Column) -> dict:
    return {
        name: dict(zip(("acc", "rec", "f1"), values, strict=True)) for name, values in column.partial.items()
    }


def _turn(score: TurnScore) -> dict:
    return {
        **{name: getattr(score, name) for name in ("session", "turn", "db", "hardness", "parsed")},
        **{name: int(getattr(score, name)) for name in VERDICTS},
        "status": score.status,
    }
