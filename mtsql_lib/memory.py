"""The dialogue memory: what was asked before, the SQL that answered it, its clauses and its result.

Gold history holds the reference SQL of the earlier turns (the paper's main setting, in training and
evaluation); predicted history holds the agent's own answers. It returns everything in order: no retrieval, no
ranking, no verdict (`memory_retriever.py` of the released code).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from mtsql_lib.dialogues import Question

if TYPE_CHECKING:
    from mtsql_lib.executor import Executor, Outcome


@dataclass(frozen=True)
class Remembered:
    """One earlier turn: the question, the SQL that stands for its answer, and what it returned."""

    utterance: str
    sql: str
    outcome: Outcome | None


class DialogueMemory:
    """The earlier turns of one question, executed on first use.

    `sqls` replaces the gold SQL turn by turn (predicted history): one for each earlier turn, else ValueError.
    """

    def __init__(self, question: Question, executor: Executor, sqls: Sequence[str] | None = None):
        self.question = question
        self.executor = executor
        self.sqls = list(sqls) if sqls is not None else [turn.sql for turn in question.history]
        if len(self.sqls) != len(question.history):
            earlier, given = len(question.history), len(self.sqls)
            raise ValueError(f"{question.id} has {earlier} earlier turns, {given} SQL texts given")

    @cached_property
    def entries(self) -> tuple[Remembered, ...]:
        """The earlier turns, oldest first; an empty prediction has no outcome."""
        database = self.question.database_id
        return tuple(
            Remembered(turn.utterance, sql, self.executor.execute(database, sql) if sql else None)
            for turn, sql in zip(self.question.history, self.sqls, strict=True)
        )

    def render(
        self,
        line: str,
        show: Callable[[Outcome | None], str],
        clauses: Callable[[str], str],
        spelled: Callable[[str], str] = str,
    ) -> str:
        """All entries through a template line: {number}, {question}, {sql}, {clauses} and {result}.

        `spelled` rewrites SQL to the form that the prompt's schema uses. It does not disarm markup (`plain`).
        """
        fields = (
            {
                "number": n + 1,
                "question": e.utterance,
                "sql": spelled(e.sql),
                "clauses": clauses(e.sql),
                "result": show(e.outcome),
            }
            for n, e in enumerate(self.entries)
        )
        return "\n".join(line.format(**f) for f in fields)

    def __len__(self) -> int:
        return len(self.sqls)

    def __repr__(self) -> str:
        pairs = zip(self.question.history, self.sqls, strict=True)
        return "\n".join(f"{n}. {turn.utterance}\n   {sql}" for n, (turn, sql) in enumerate(pairs, 1))
