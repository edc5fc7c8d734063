"""Rewards of an episode as named components, from the environment's log: a forged tool result earns nothing.

Outcome: execution match and exact set match of the answer. Process: propose (clause agreement of the
proposals with gold), execute and memory (did the verdict fit what the tool showed). The sum is EX + EM + 0.8
propose + 0.1 execute + 0.1 memory: the weights of the released code. `None` means not scored, and differs
from 0.

`released` keeps the quirks of the authors' `text2sql_process.py`, as `docs/deviations.md` lists them: the
last tool SQL stands in for a missing answer, all calls are averaged, a missing verdict counts as pass, the
memory verdict is read from the next `<exec_verify>`, errors are known by four phrases.

`paper` is the method as described, mended where the audit (`audit.py`) found that a trick beat honest play:

- only an answer is an answer, a verdict must be given at once, the memory has its own verdict;
- two empty results match only if the queries agree, and a list of constants earns no EX;
- a look at stored values is no proposal; of the proposals the weakest and the last count, of the verdicts the
  weakest, so that no further call can raise a score;
- no SQL counts more than the answer itself agrees with gold, be it proposed or shown to the memory;
- on a first turn there is nothing to remember, so the memory is not scored.

Neither mode protects against an agent that knows gold's result: constants in disguise (`SELECT max(3) + 0 *
count(*) FROM t`) pass as an answer in EX.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mtsql_lib.environment import Episode, ToolResult
from mtsql_lib.errors import KitError
from mtsql_lib.protocol import answers_in, one_line, parse_message

if TYPE_CHECKING:
    from mtsql_lib.dialogues import Question
    from mtsql_lib.scoring import Judge, Score

MODES = ("paper", "released")
PROPOSE_WEIGHT, EXECUTE_WEIGHT, MEMORY_WEIGHT = 0.8, 0.1, 0.1
_EMPTY_NO_PASS = 0.1  # the code's and the paper's table; the code's own docstring says 0.5
_RELEASED_ERRORS = ("no such table", "no such column", "ambiguous column name", "syntax error")
_NAME = r"(?:\w+|\"[^\"]+\")"
_PROBE = re.compile(
    rf"\s*SELECT\s+DISTINCT\s+((?:{_NAME}\.)?{_NAME})\s+FROM\s+{_NAME}(?:\s+WHERE\s+\1\s+LIKE\s+'[^']*')?\s*;?\s*\Z",
    re.IGNORECASE,
)
_LISTS = re.compile(r"\bSELECT\b(.*?)(?:\b(?:FROM|UNION|INTERSECT|EXCEPT)\b|\Z)", re.IGNORECASE | re.DOTALL)
_WORDS = "AS|DISTINCT|ALL|NULL|TRUE|FALSE|CASE|WHEN|THEN|ELSE|END|AND|OR|NOT|IS|IN|BETWEEN|LIKE"
# a column or a star: a name that is no keyword, no alias and no function
_STAR = r"(?:^|[(.,]|\bDISTINCT\b|\bALL\b)\s*\*"
_READS = re.compile(rf"(?<!AS )\b(?!(?:{_WORDS})\b)[a-z_]\w*\b(?!\s*\()|[\"`\[]|{_STAR}", re.IGNORECASE)


@dataclass(frozen=True)
class RewardBreakdown:
    """The components of one episode's reward, each in [0, 1] or None (not scored)."""

    ex: float
    em: float
    propose: float | None = None
    execute: float | None = None
    memory: float | None = None

    @property
    def outcome(self) -> float:
        """EX + EM, in [0, 2]."""
        return self.ex + self.em

    @property
    def process(self) -> float:
        """The weighted process terms, in [0, 1]; what is not scored adds nothing."""
        weighted = zip(self._process, (PROPOSE_WEIGHT, EXECUTE_WEIGHT, MEMORY_WEIGHT), strict=True)
        return sum(weight * value for value, weight in weighted if value is not None)

    @property
    def total(self) -> float:
        """Outcome + process, in [0, 3]."""
        return self.outcome + self.process

    @property
    def _process(self) -> tuple[float | None, ...]:
        return self.propose, self.execute, self.memory

    def _repr_html_(self) -> str:
        names = ("ex", "em", "propose", "execute", "memory", "total")
        cells = "".join(f"<td>{shown(getattr(self, name))}</td>" for name in names)
        return f"<table><tr>{''.join(f'<th>{n}</th>' for n in names)}</tr><tr>{cells}</tr></table>"


def shown(value: float | None) -> str:
    """A component as text; a dash where it was not scored."""
    return "–" if value is None else f"{value:.2f}"


def reward(episode: Episode, question: Question, judge: Judge, mode: str = "paper") -> RewardBreakdown:
    """Score an episode against its question. Process terms exist for tool episodes only.

    Raises KitError for a mode that is not in `MODES` and for a database that is missing.
    """
    if mode not in MODES:
        raise KitError(f"there is no reward mode {mode!r}: choose one of {', '.join(MODES)}")
    answer = final_sql(episode, mode)
    ex, em = _outcome(judge.score(question, answer), answer, mode) if answer else (0.0, 0.0)
    if episode.mode == "direct":
        return RewardBreakdown(ex, em)
    agreement = Agreement(question, judge, mode)
    if mode == "released":
        return RewardBreakdown(ex, em, *_released(episode, agreement))
    return RewardBreakdown(ex, em, *_paper(episode, agreement, bool(question.history)))


def final_sql(episode: Episode, mode: str = "paper") -> str:
    """The SQL that is scored: the answer, "" without one.

    In `released` mode the last answer tag anywhere, else the last tool call's SQL, the last thought, the
    whole text (`text2sql.py`).
    """
    if mode == "paper" or episode.mode == "direct":
        return episode.answer or ""
    text = "\n".join(step.text for step in episode.steps)
    thoughts = re.findall(r"<think>(.*?)</think>", text, re.DOTALL)
    found = answers_in(text) or _called(episode) or thoughts or [text]
    return one_line(found[-1])


def is_probe(sql: str, answer: str | None) -> bool:
    """A look at the stored values of one column, which is no proposal unless it is what the agent answers."""
    return bool(_PROBE.match(sql)) and _essence(sql) != _essence(answer or "")


def is_constant(sql: str) -> bool:
    """No SELECT list names a column or a star: what it returns was not read from the database."""
    bare = re.sub(r"\s+", " ", re.sub(r"'(?:[^']|'')*'", "0", sql))
    return not any(_READS.search(part) for part in _LISTS.findall(bare))


def _outcome(score: Score, answer: str, mode: str) -> tuple[float, float]:
    ex = score.ex
    if mode == "paper" and ex:
        ex = (score.ex_strict or score.status != "vacuous") and not is_constant(answer)
    return float(ex), float(score.em)


def _essence(sql: str) -> str:
    return " ".join(sql.lower().replace(";", " ").split())


# The released code's process terms


def _released(episode: Episode, agreement: Agreement) -> tuple[float, float, float]:
    """Propose, execute, memory as released; without a call each is 0."""
    propose = _mean(agreement(sql) for sql in _called(episode))  # all calls, of both tools, repeated ones too
    verdicts = [(r, verdict_after(episode, r, "exec", 99) or "pass") for r in results_of(episode, "exec_sql")]
    execute = _mean(verdict_value(_released_kind(r), verdict) for r, verdict in verdicts)
    # quirk: `<memory_verify>` is parsed nowhere, the next `<exec_verify>` is taken for it
    checks = [(r, verdict_after(episode, r, "exec", 99)) for r in results_of(episode, "memory_retrieve")]
    memory = _mean(check_value(agreement(r.sql), verdict or "pass") for r, verdict in checks)
    return propose, execute, memory


def _called(episode: Episode) -> list[str]:
    """The SQL of every readable call in the text, also of those that the message limit left unanswered."""
    return [call.code for step in episode.steps for call in parse_message(step.text).calls if call.code]


def _released_kind(result: ToolResult) -> str:
    if result.outcome.kind == "empty":
        return "empty"
    # quirk: an error that has none of the four phrases ("misuse of aggregate", a timeout) is a good result
    return "error" if any(phrase in result.outcome.message for phrase in _RELEASED_ERRORS) else "rows"


# The paper's process terms


def _paper(episode: Episode, agreement: Agreement, later: bool) -> tuple[float, float | None, float | None]:
    """Propose, execute, memory; the last two are None where there was nothing to verify."""
    most = agreement(episode.answer) if episode.answer else 0.0
    proposals = [r for r in results_of(episode, "exec_sql") if not is_probe(r.sql, episode.answer)]
    fits = [min(agreement(r.sql), most) for r in proposals]
    propose = (min(fits) + fits[-1]) / 2 if fits else 0.0
    execute = [verdict_value(result_kind(r), verdict_after(episode, r, "exec", 1)) for r in proposals]
    checks = results_of(episode, "memory_retrieve") if later else []
    memory = [
        min(check_value(agreement(r.sql), verdict_after(episode, r, "memory", 1)), most) for r in checks
    ]
    return propose, min(execute, default=None), min(memory, default=None)


def result_kind(result: ToolResult) -> str:
    """rows, empty or error."""
    return result.outcome.kind if result.outcome.ok else "error"


# What both share


def results_of(episode: Episode, tool: str) -> list[ToolResult]:
    """The results of a tool's calls that could be read."""
    return [r for r in episode.log if r.tool == tool and not r.fault]


def verdict_after(episode: Episode, result: ToolResult, kind: str, reach: int) -> str | None:
    """The first verdict of a kind in the `reach` messages after the call's own."""
    later = (v for number, k, v in episode.verdicts if k == kind and 0 < number - result.message <= reach)
    return next(later, None)


def verdict_value(kind: str, verdict: str | None) -> float:
    """What a verdict on a result of this kind is worth, in [0, 1]."""
    if verdict is None:
        return 0.0
    if kind == "empty":
        return _EMPTY_NO_PASS if verdict == "no_pass" else 0.0
    return float((verdict == "no_pass") == (kind == "error"))


def check_value(fit: float, verdict: str | None) -> float:
    """What a memory verdict is worth where the checked SQL agrees with gold by `fit`, in [0, 1]."""
    return 0.0 if verdict is None else fit if verdict == "pass" else 1 - fit


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else 0.0


class Agreement:
    """Clause agreement of SQL with gold, in [0, 1]; 0 for what is outside Spider's grammar.

    `released`: the share of clauses that are spelled the same. `paper`: the mean F1 of the clauses' parts.
    """

    def __init__(self, question: Question, judge: Judge, mode: str):
        self._clauses = lambda sql: judge.clauses(question.database_id, sql)
        self._gold = self._clauses(question.gold)
        self._compare = _clause_equal if mode == "released" else _clause_f1
        self._known: dict[str, float] = {}

    def __call__(self, sql: str) -> float:
        if sql not in self._known:
            self._known[sql] = self._score(self._clauses(sql))
        return self._known[sql]

    def _score(self, predicted: dict | None) -> float:
        if predicted is None or self._gold is None:
            return 0.0
        keys = [key for key in self._gold if self._gold[key] or predicted[key]]
        return sum(self._compare(self._gold[key], predicted[key]) for key in keys) / len(keys)


def _clause_equal(gold: object, predicted: object) -> float:
    return float(str(gold) == str(predicted))


def _clause_f1(gold: object, predicted: object) -> float:
    wanted, given = Counter(_parts(gold)), Counter(_parts(predicted))
    shared = sum((wanted & given).values())
    return 2 * shared / (wanted.total() + given.total()) if shared else 0.0


def _parts(clause: object) -> list[str]:
    """A list's entries; of a dict (FROM, a nested query) those of its clauses, with their names."""
    if isinstance(clause, dict):
        return [f"{name} {part}" for name, value in clause.items() for part in _parts(value)]
    if isinstance(clause, list | tuple):
        return [str(part) for part in clause]
    return [str(clause)] if clause else []
