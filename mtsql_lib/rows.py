"""Rows: what evaluation keeps of an episode, one flat record a question, enough for every table and figure.

A row holds verdicts and counts, no text and no token ids; those stay in the run's store. It is made once,
where a judge is at hand, so that tables, figures and the report need none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtsql_lib.execution_match import prepared, run
from mtsql_lib.rewards import Agreement, is_probe

if TYPE_CHECKING:
    from mtsql_lib.dialogues import Question
    from mtsql_lib.environment import Episode, ToolResult
    from mtsql_lib.outcome import Outcome
    from mtsql_lib.play import Scored
    from mtsql_lib.scoring import Judge


@dataclass(frozen=True)
class Row:
    """One question as one system answered it; `turn` counts from 0.

    ex, em: official verdicts, *_strict: the strict ones. status: the judge's word (`match`, `mismatch`,
    `gold_failed`, ...) or `unplayed`; reason: why the question failed, "" if it did not. exec_calls and
    memory_calls: calls that were executed, faults: calls that could not be read. met_error: a query was
    refused or broke off. met_empty: a proposal returned no rows although the gold query returns some.
    exec_verdicts and memory_verdicts: verdicts given on a result, *_right: those that fit it. first, last:
    clause agreement with gold of the first and the last of the `proposals`, mean over all in `propose`;
    None without one. tokens: sampled ids; prompt_tokens: ids of the prompt.
    """

    question_id: str
    dialogue_id: str
    turn: int
    hardness: str = ""
    ex: bool = False
    em: bool = False
    ex_strict: bool = False
    em_strict: bool = False
    causes: tuple[str, ...] = ()
    status: str = ""
    reason: str = ""
    mode: str = "agent"
    stop: str = ""
    messages: int = 0
    exec_calls: int = 0
    memory_calls: int = 0
    faults: int = 0
    met_error: bool = False
    met_empty: bool = False
    exec_verdicts: int = 0
    exec_right: int = 0
    memory_verdicts: int = 0
    memory_right: int = 0
    proposals: int = 0
    first: float | None = None
    last: float | None = None
    propose: float | None = None
    tokens: int = 0
    prompt_tokens: int = 0

    @property
    def judged(self) -> bool:
        """The gold query runs, so that the question can be right or wrong."""
        return self.status != "gold_failed"


def row_of(scored: Scored, judge: Judge) -> Row:
    """The row of a scored episode; runs the gold query to know whether its result is empty, and judges the
    SQL that the memory was asked about."""
    question, episode, score = scored.question, scored.episode, scored.score
    gold = _gold_outcome(question, judge)
    proposals = [r for r in _done(episode, "exec_sql") if not is_probe(r.sql, episode.answer)]
    agreement = Agreement(question, judge, "paper")
    fits = [agreement(r.sql) for r in proposals]
    verdicts = _exec_verdicts(episode, gold.kind == "empty")
    checks = _memory_verdicts(episode, lambda sql: judge.score(question, sql).ex)
    return Row(
        question.id,
        question.dialogue_id,
        question.turn,
        score.hardness,
        score.ex,
        score.em,
        score.ex_strict,
        score.em_strict,
        tuple(question.causes),
        # an empty answer is judged without a look at gold, so gold is run here
        status=score.status if gold.ok else "gold_failed",
        reason=_gold_fault(gold),
        mode=episode.mode,
        stop=episode.stop,
        messages=len(episode.steps),
        exec_calls=len(_done(episode, "exec_sql")),
        memory_calls=len(_done(episode, "memory_retrieve")),
        faults=sum(bool(r.fault) for r in episode.log),
        met_error=any(not r.outcome.ok for r in _done(episode, "exec_sql")),
        met_empty=gold.kind == "rows" and any(r.outcome.kind == "empty" for r in proposals),
        exec_verdicts=len(verdicts),
        exec_right=sum(verdicts),
        memory_verdicts=len(checks),
        memory_right=sum(checks),
        proposals=len(fits),
        first=fits[0] if fits else None,
        last=fits[-1] if fits else None,
        propose=sum(fits) / len(fits) if fits else None,
        tokens=sum(len(step.ids) for step in episode.steps),
        prompt_tokens=len(episode.prompt_ids),
    )


def unplayed(question: Question, reason: str, judge: Judge) -> Row:
    """The row of a question that could not be put to the system: wrong in every verdict, and named."""
    fault = _gold_fault(_gold_outcome(question, judge))
    return Row(
        question.id,
        question.dialogue_id,
        question.turn,
        judge.score(question, "").hardness,
        causes=tuple(question.causes),
        status="gold_failed" if fault else "unplayed",
        reason=fault or reason,
        mode="",
    )


def _gold_outcome(question: Question, judge: Judge) -> Outcome:
    # as the metric runs it: a few published gold queries are spelled `! =`, which SQLite refuses
    return run(judge.executor, question.database_id, prepared(question.gold, keep_distinct=True))


def _gold_fault(gold: Outcome) -> str:
    return "" if gold.ok else f"the gold query fails ({gold.kind}: {gold.message})"


def _done(episode: Episode, tool: str) -> list[ToolResult]:
    return [r for r in episode.log if r.tool == tool and not r.fault]


def _verdict(episode: Episode, result: ToolResult, kind: str) -> str | None:
    """The verdict in the message that follows the call; a message with several calls is answered by one."""
    given = (verdict for number, k, verdict in episode.verdicts if k == kind and number == result.message + 1)
    return next(given, None)


def _exec_verdicts(episode: Episode, gold_empty: bool) -> list[bool]:
    """For each verdict on an execution whether it fits: no_pass after an error, pass after rows, and after
    an empty result no_pass unless gold's is empty too."""
    fits = []
    for result in _done(episode, "exec_sql"):
        verdict = _verdict(episode, result, "exec")
        if verdict:
            fine = result.outcome.kind == "rows" or (result.outcome.kind == "empty" and gold_empty)
            fits.append((verdict == "pass") == fine)
    return fits


def _memory_verdicts(episode: Episode, right: Callable[[str], bool]) -> list[bool]:
    """For each verdict on a memory check whether it fits: pass exactly if the SQL that was checked is
    right.
    """
    checked = [(r, _verdict(episode, r, "memory")) for r in _done(episode, "memory_retrieve")]
    return [(verdict == "pass") == right(r.sql) for r, verdict in checked if verdict]
