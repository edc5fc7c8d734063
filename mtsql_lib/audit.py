"""The reward audit: tricks against honest play of the same knowledge, and what each earns in both modes.

    python -m mtsql_lib.audit        # writes docs/reward_audit.md

Every attack is a scripted episode, played through the real environment and scored by the real judge, beside
an honest episode on the same question. In `paper` mode none may earn more than the honest one; in `released`
mode some do, which is what the table shows. What it cannot show: a trick that nobody has thought of.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mtsql_lib.audit_attacks import ATTACKS, CUT, QUESTIONS, SCRIPT, Attack
from mtsql_lib.dialogues import Question
from mtsql_lib.environment import Environment, Episode, Step
from mtsql_lib.memory import DialogueMemory
from mtsql_lib.rewards import MODES, RewardBreakdown, reward, shown
from mtsql_lib.schema import read_schema
from mtsql_lib.scoring import Judge

DOCUMENT = Path(__file__).parent.parent / "docs" / "reward_audit.md"


@dataclass(frozen=True)
class Finding:
    """What an attack and the honest play earn in one mode."""

    attack: Attack
    mode: str
    earned: RewardBreakdown
    honest: RewardBreakdown

    @property
    def beats(self) -> bool:
        """The trick pays more than honest play (beyond rounding)."""
        return self.earned.total > self.honest.total + 1e-9

    def cells(self) -> tuple[str, ...]:
        """The row of the table as text."""
        terms = ("ex", "em", "propose", "execute", "memory", "total")
        numbers = [shown(getattr(self.earned, name)) for name in terms]
        return (
            self.attack.name,
            self.mode,
            *numbers,
            shown(self.honest.total),
            "**pays**" if self.beats else "no",
        )


@dataclass(frozen=True)
class AuditTable:
    """All findings; prints as Markdown, and in a notebook as a table."""

    findings: tuple[Finding, ...]
    head = ("attack", "mode", "EX", "EM", "propose", "execute", "memory", "total", "honest", "pays?")

    def __str__(self) -> str:
        rows = [self.head, ("---",) * len(self.head), *(finding.cells() for finding in self.findings)]
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        lines = ["".join(f"<th>{escape(name)}</th>" for name in self.head)]
        for finding in self.findings:
            cells = (escape(cell.strip("*")) for cell in finding.cells())
            tag = "<td style='color:#b00020'>" if finding.beats else "<td>"
            lines.append("".join(f"{tag}{cell}</td>" for cell in cells))
        return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def audit(attacks: Sequence[Attack] = ATTACKS) -> AuditTable:
    """Play and score every attack and its honest counterpart in both modes, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        databases = build(Path(folder))
        judge = Judge(databases)
        try:
            return AuditTable(
                tuple(_finding(attack, mode, databases, judge) for attack in attacks for mode in MODES)
            )
        finally:
            judge.executor.close()


def _finding(attack: Attack, mode: str, databases: Path, judge: Judge) -> Finding:
    question = QUESTIONS[attack.gold]
    earned, honest = (
        reward(play(question, script, databases, judge), question, judge, mode)
        for script in (attack.attack, attack.honest)
    )
    return Finding(attack, mode, earned, honest)


def play(
    question: Question, script: Sequence[str], databases: Path, judge: Judge, message_limit: int = 6
) -> Episode:
    """A scripted episode; `CUT` stands for a message that the token budget cuts off."""
    memory = DialogueMemory(question, judge.executor)
    schema = read_schema(databases, question.database_id)
    environment = Environment(question, schema, judge.executor, memory, message_limit=message_limit)
    steps = []
    for text in script:
        if text == CUT:
            environment.cut()
        else:
            steps.append(Step(text, observation=environment.step(text).text))
    if not environment.stop:
        raise AssertionError(f"a script on {question.id} does not end")
    return environment.episode(0, (), tuple(steps))


def build(folder: Path) -> Path:
    """Write the harbour's database below `folder`, which is returned."""
    (folder / "harbour").mkdir()
    connection = sqlite3.connect(folder / "harbour" / "harbour.sqlite")
    connection.executescript(SCRIPT)
    connection.close()
    return folder


def document(table: AuditTable) -> str:
    """The page docs/reward_audit.md."""
    tricks = "\n".join(f"- **{a.name}**: {a.trick}." for a in ATTACKS)
    paying = {mode: sum(f.beats for f in table.findings if f.mode == mode) for mode in MODES}
    return f"""# Reward audit

Made by `python -m mtsql_lib.audit`; a test fails if this page and the code differ.

Each trick is a scripted episode, held against honest play on the same question with the same knowledge
of SQL: who knows the right query proposes it, who has a wrong one answers with that. `honest` is what the
honest episode earns in total. Total = EX + EM + 0.8 propose + 0.1 execute + 0.1 memory; a dash means not
scored.

Of {len(ATTACKS)} tricks {paying["released"]} pay in `released` mode, {paying["paper"]} in `paper` mode; the
docstring of `mtsql_lib/rewards.py` says what was mended for that. In both modes the score comes from the
environment's log, so that a forged tool response earns nothing; the released code reads the transcript.

{table}

## The tricks

{tricks}
"""


def main() -> int:
    """Write the page and print the table; returns 1 if a trick pays in paper mode."""
    table = audit()
    DOCUMENT.parent.mkdir(exist_ok=True)
    DOCUMENT.write_text(document(table), encoding="utf-8")
    print(table)
    return int(any(f.beats for f in table.findings if f.mode == "paper"))


if __name__ == "__main__":
    raise SystemExit(main())
