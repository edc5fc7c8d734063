"""Evaluation: rows in, the paper's tables out: question and interaction match, breakdowns, abilities,
recovery, and the paired comparison of two systems (MTSQL-R1, section 4).

All shares are per cent with 95 % intervals that are clustered by dialogue. A question whose gold query
fails is left out of every share and named in `failed`; a question that could not be played counts as wrong
and is named too. Interaction match asks for every judged question of a dialogue. What was left out:
p-values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mtsql_lib.rows import Row
from mtsql_lib.statistics import Interval, mean_interval, paired_interval

ENOUGH = 10  # dialogues: below, the bootstrap knows too little of the spread to show anything
METRICS = ("ex", "em", "ex_strict", "em_strict")
TURNS = ("1", "2", "3", "4", ">4")
HARDNESS = ("easy", "medium", "hard", "extra", "unknown")  # unknown: gold is outside Spider's grammar


@dataclass(frozen=True)
class Match:
    """Question and interaction match of one metric, per cent."""

    question: Interval
    interaction: Interval


@dataclass(frozen=True)
class Summary:
    """One system on one corpus: everything counted, each metric with question and interaction match.

    differ: ids of the questions where an official verdict and its strict one differ. failed: id and reason
    of every question whose gold query fails or that was not played.
    """

    questions: int
    executed: int
    dialogues: int
    ex: Match
    em: Match
    ex_strict: Match
    em_strict: Match
    differ: tuple[str, ...]
    failed: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        names = {"ex": "EX", "em": "EM", "ex_strict": "EX strict", "em_strict": "EM strict"}
        lines = [f"{'':<11}{'question match':>22}{'interaction match':>22}"]
        lines += [
            f"{title:<11}{str(getattr(self, n).question):>22}{str(getattr(self, n).interaction):>22}"
            for n, title in names.items()
        ]
        count = f"{self.questions} questions, {self.executed} with a gold query that runs"
        return "\n".join((f"{count}, {self.dialogues} dialogues", *lines))

    def _repr_html_(self) -> str:
        from html import escape

        return f"<pre>{escape(str(self))}</pre>"


def summary(rows: Sequence[Row]) -> Summary:
    """The summary of one system; ValueError if no question could be judged."""
    judged = _judged(rows)
    return Summary(
        len(rows),
        len(judged),
        len({r.dialogue_id for r in judged}),
        *(Match(share(judged, lambda r, m=m: getattr(r, m)), interaction(judged, m)) for m in METRICS),
        differ=tuple(r.question_id for r in rows if r.ex != r.ex_strict or r.em != r.em_strict),
        failed=tuple((r.question_id, r.reason) for r in rows if r.reason),
    )


def share(rows: Sequence[Row], value: Callable[[Row], float]) -> Interval:
    """Mean of a value over rows, per cent, clustered by dialogue."""
    return mean_interval([float(value(r)) for r in rows], [r.dialogue_id for r in rows])


def interaction(rows: Sequence[Row], metric: str = "ex") -> Interval:
    """Interaction match: the share of dialogues in which every question is right."""
    right: dict[str, bool] = {}
    for row in rows:
        right[row.dialogue_id] = right.get(row.dialogue_id, True) and getattr(row, metric)
    return mean_interval([float(r) for r in right.values()], list(right))


def turn_of(row: Row) -> str:
    """The turn as the paper's tables name it: 1, 2, 3, 4, >4."""
    return TURNS[min(row.turn, 4)]


@dataclass(frozen=True)
class Part:
    """EX and EM of a part of the questions."""

    name: str
    questions: int
    ex: Interval
    em: Interval


def per_turn(rows: Sequence[Row]) -> list[Part]:
    """EX and EM by turn."""
    return _parts(rows, TURNS, lambda r: (turn_of(r),))


def per_hardness(rows: Sequence[Row]) -> list[Part]:
    """EX and EM by Spider's hardness class of the gold query."""
    return _parts(rows, HARDNESS, lambda r: (r.hardness,))


def per_cause(rows: Sequence[Row]) -> list[Part]:
    """EX and EM by cause of failure (bundled corpora); a question with several is in several parts."""
    names = sorted({cause for r in rows for cause in r.causes})
    return _parts(rows, (*names, "none"), lambda r: r.causes or ("none",))


def _parts(rows: Sequence[Row], names: Iterable[str], keys: Callable[[Row], tuple[str, ...]]) -> list[Part]:
    groups = {name: [r for r in _judged(rows) if name in keys(r)] for name in names}
    return [
        Part(name, len(group), share(group, lambda r: r.ex), share(group, lambda r: r.em))
        for name, group in groups.items()
        if group
    ]


@dataclass(frozen=True)
class Measure:
    """One ability as a share with the cases and dialogues behind it; `interval` is None without any case."""

    name: str
    cases: int
    dialogues: int
    interval: Interval | None

    def __str__(self) -> str:
        return f"{self.name}: {self.interval if self.interval else '–'} ({self.cases} cases)"


def abilities(rows: Sequence[Row]) -> list[Measure]:
    """The long-horizon abilities of a system with tools, per cent; definitions are this kit's, the paper
    gives none.

    calls exec_sql: episodes with at least one execution. calls memory_retrieve: episodes on a second or
    later turn with at least one memory call. execute-verify accuracy: verdicts on an execution that fit it
    (no_pass after an error or an unexpected empty result, else pass). memory-verify accuracy: verdicts on a
    memory check that fit (pass exactly if the checked SQL is right in EX). proposal agreement: mean clause
    F1 of the proposals with gold. correction gain: last minus first proposal's clause F1, in points, over
    episodes that proposed more than one time. A verdict that was not given is no case.
    """
    agents = [r for r in _judged(rows) if r.mode == "agent"]
    later = [r for r in agents if r.turn > 0]
    proposed = [r for r in agents if r.propose is not None]
    corrected = [r for r in proposed if r.proposals > 1]
    return [
        _measure("calls exec_sql", agents, lambda r: r.exec_calls > 0),
        _measure("calls memory_retrieve", later, lambda r: r.memory_calls > 0),
        _ratio("execute-verify accuracy", agents, "exec_right", "exec_verdicts"),
        _ratio("memory-verify accuracy", agents, "memory_right", "memory_verdicts"),
        _measure("proposal agreement", proposed, lambda r: r.propose),
        _measure("correction gain", corrected, lambda r: r.last - r.first),
    ]


def recovery(rows: Sequence[Row]) -> list[Measure]:
    """Of the episodes that met trouble the share that ends with EX.

    after an error: a query was refused or broke off (a call that could not be read is not meant). after an
    empty result: a proposal returned nothing where gold returns rows; a look at stored values is no
    proposal. An episode that met both is in both, and once in the third line.
    """
    judged = _judged(rows)
    return [
        _measure("after an error", [r for r in judged if r.met_error], lambda r: r.ex),
        _measure("after an empty result", [r for r in judged if r.met_empty], lambda r: r.ex),
        _measure("after either", [r for r in judged if in_trouble(r)], lambda r: r.ex),
    ]


def in_trouble(row: Row) -> bool:
    """The episode met an error or an unexpected empty result."""
    return row.met_error or row.met_empty


def _measure(name: str, rows: Sequence[Row], value: Callable[[Row], float]) -> Measure:
    return Measure(name, len(rows), len({r.dialogue_id for r in rows}), share(rows, value) if rows else None)


def _ratio(name: str, rows: Sequence[Row], right: str, given: str) -> Measure:
    cases = [(r.dialogue_id, n < getattr(r, right)) for r in rows for n in range(getattr(r, given))]
    dialogues = [dialogue for dialogue, _ in cases]
    interval = mean_interval([float(hit) for _, hit in cases], dialogues) if cases else None
    return Measure(name, len(cases), len(set(dialogues)), interval)


@dataclass(frozen=True)
class Comparison:
    """A planned comparison: `interval` is second minus first in points on the same questions.

    `dropped` counts questions that only one of the two has.
    """

    claim: str
    questions: int
    dialogues: int
    first: float
    second: float
    interval: Interval
    dropped: int = 0

    @property
    def verdict(self) -> str:
        """`shown` if the interval lies above 0, `contradicted` below it, else, or with few dialogues, `not
        shown`.
        """
        if self.dialogues < ENOUGH:
            return "not shown"
        if self.interval.low > 0:
            return "shown"
        return "contradicted" if self.interval.high < 0 else "not shown"

    def __str__(self) -> str:
        means = f"{self.first:.1f} -> {self.second:.1f}"
        return f"{self.claim}: {means}, {self.interval}, {self.questions} questions: {self.verdict}"


def compare(
    claim: str,
    first: Sequence[Row],
    second: Sequence[Row],
    metric: str = "ex",
    where: Callable[[Row], bool] = lambda row: True,
) -> Comparison | None:
    """Compare two systems on the questions that both were asked; None if they share none.

    `where` chooses questions by what does not depend on the system (turn, hardness); for what does (trouble
    met) there is no pair. The claim is that the second is better.
    """
    ours = {r.question_id: r for r in _judged(second) if where(r)}
    theirs = {r.question_id: r for r in _judged(first) if where(r)}
    shared = [q for q in theirs if q in ours]
    if not shared:
        return None
    before, after = ([float(getattr(rows[q], metric)) for q in shared] for rows in (theirs, ours))
    clusters = [theirs[q].dialogue_id for q in shared]
    means = (100 * sum(values) / len(values) for values in (before, after))
    dropped = len(ours) + len(theirs) - 2 * len(shared)
    return Comparison(
        claim, len(shared), len(set(clusters)), *means, paired_interval(before, after, clusters), dropped
    )


def at_least(claim: str, measure: Measure, bound: float) -> Comparison | None:
    """The claim that a share reaches `bound` per cent: its interval minus `bound`; None without a case."""
    if not measure.interval:
        return None
    got = measure.interval
    excess = Interval(got.estimate - bound, got.low - bound, got.high - bound)
    return Comparison(claim, measure.cases, measure.dialogues, bound, got.estimate, excess)


def plain(record: Any) -> dict[str, Any]:
    """A record of this module as plain values; a comparison with its verdict."""
    values = asdict(record)
    return {**values, "verdict": record.verdict} if isinstance(record, Comparison) else values


def _judged(rows: Sequence[Row]) -> list[Row]:
    return [r for r in rows if r.judged]
