"""MTSQL-R1's eight takeaways as pre-stated tests, and the ablations beside them.

Each is a number, or some, whose sign was fixed before any system was played, with an interval over dialogues
and training seeds: above 0 shown, below 0 contradicted, else not shown. A takeaway of several parts is shown
if each of them is, and contradicted if one of them is at a level that allows for their number. EX is in
percentage points on both development sets together, unless the statistic says otherwise. There is no
correction for the number of claims.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mtsql_lib.evaluation import in_trouble
from mtsql_lib.rows import Row
from mtsql_lib.statistics import Interval, Spread, over_seeds

Value = Callable[[Row], float | None]  # None: no case
Where = Callable[[Row, bool], bool]  # of a question and whether it is in domain


def ex(row: Row) -> float:
    return 100.0 * row.ex


def em(row: Row) -> float:
    return 100.0 * row.em


def recovered(row: Row) -> float | None:
    return 100.0 * row.ex if in_trouble(row) else None


def calls(row: Row) -> float:
    return 100.0 * (row.exec_calls > 0)


def verified(row: Row) -> float | None:
    return 100.0 * row.exec_right / row.exec_verdicts if row.exec_verdicts else None


def corrected(row: Row) -> float | None:
    """Agreement with gold that the last of several proposals has more than the first."""
    return 100.0 * (row.last - row.first) if row.proposals > 1 else None


@dataclass(frozen=True)
class Sheet:
    """The rows of every system for every seed: `rows[system][seed]`, the same questions in the same order;
    `home[q]` tells whether question q is in domain.
    """

    rows: dict[str, list[list[Row]]]
    home: tuple[bool, ...]

    @property
    def questions(self) -> list[Row]:
        """The rows of one system and seed: what is asked, whoever answers."""
        return next(iter(self.rows.values()))[0]

    @property
    def seeds(self) -> int:
        """Number of training seeds."""
        return len(next(iter(self.rows.values())))


class Means:
    """Means over the questions and seeds of a sheet, under the weights of one draw."""

    def __init__(self, sheet: Sheet):
        self.sheet = sheet
        self.weights, self.chosen = np.ones(len(sheet.home)), np.ones(sheet.seeds)
        self._columns: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def __call__(self, system: str, value: Value = ex, where: Where | None = None) -> float:
        """Mean of a value over the questions where it has a case; nan without any."""
        values, cases = self._column(system, value, where)
        count = self.chosen @ cases @ self.weights
        return float(self.chosen @ values @ self.weights / count) if count else float("nan")

    def per_seed(self, system: str, value: Value) -> np.ndarray:
        """The mean of each seed, (seeds,); nan without a case."""
        values, cases = self._column(system, value, None)
        count = cases @ self.weights
        return np.divide(values @ self.weights, count, np.full(len(count), np.nan), where=count > 0)

    def _column(self, system: str, value: Value, where: Where | None) -> tuple[np.ndarray, np.ndarray]:
        """Values and cases (seeds, Q), 0 where there is no case."""
        if (key := (system, value, where)) not in self._columns:
            there = [where is None or where(q, home) for q, home in zip(*self._asked(), strict=True)]
            found = [
                [value(r) if r.judged and asked else None for r, asked in zip(rows, there, strict=True)]
                for rows in self.sheet.rows[system]
            ]
            cases = np.array([[v is not None for v in line] for line in found], dtype=float)
            self._columns[key] = np.array([[v or 0.0 for v in line] for line in found]), cases
        return self._columns[key]

    def _asked(self) -> tuple[list[Row], tuple[bool, ...]]:
        return self.sheet.questions, self.sheet.home


def gain(m: Means, first: str, second: str, value: Value = ex, where: Where | None = None) -> float:
    """Second minus first."""
    return m(second, value, where) - m(first, value, where)


def contrast(m: Means, where: Where, against: Where) -> float:
    """The EX gain of RL over short-horizon SFT on some questions less that on others."""
    here, there = (gain(m, "short_sft", "rl_process", ex, part) for part in (where, against))
    return here - there


def correlation(m: Means, value: Value) -> float:
    """Pearson's correlation of an ability with EX over the agent's checkpoints and seeds."""
    x = np.concatenate([m.per_seed(system, value) for system in AGENTS])
    y = np.concatenate([m.per_seed(system, ex) for system in AGENTS])
    weights = np.tile(m.chosen, len(AGENTS)) * ~np.isnan(x)
    if not weights.sum():
        return float("nan")
    covariance = np.cov(np.nan_to_num(x), y, aweights=weights, ddof=0)
    spread = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(covariance[0, 1] / spread) if spread > 0 else float("nan")


def later(question: Row, home: bool) -> bool:
    return question.turn > 0


def first_turn(question: Row, home: bool) -> bool:
    return question.turn == 0


def hard(question: Row, home: bool) -> bool:
    return question.hardness in ("hard", "extra")


def easy(question: Row, home: bool) -> bool:
    return question.hardness in ("easy", "medium")


def away(question: Row, home: bool) -> bool:
    return not home


AGENTS = ("untrained", "round1", "round2", "round3", "rl_outcome", "rl_process")


@dataclass(frozen=True)
class Takeaway:
    """A claim with its statistic in words and as a function, and the paper's figure (Qwen3-1.7B, Table 2,
    trained and tested on CoSQL / SParC, unless it says otherwise).
    """

    id: str
    claim: str
    statistic: str
    parts: tuple[Callable[[Means], float], ...]
    paper: str = "no figure"


TAKEAWAYS = (
    Takeaway(
        "T1", "Warm start and RL both help",
        "EX(round 3) - EX(untrained), and EX(RL) - EX(round 3)",
        (lambda m: gain(m, "untrained", "round3"), lambda m: gain(m, "round3", "rl_process")),
        "+50.4 and +4.3 / +48.9 and +3.4",
    ),
    Takeaway(
        "T2", "A small model fails at long-horizon tool use before training",
        "EX(direct prompting) - EX(untrained agent)",
        (lambda m: gain(m, "untrained", "direct"),),
        "+37.3 / +37.6",
    ),
    Takeaway(
        "T3", "Plain SFT gives a good EM but a weaker EX",
        "gain of RL over short-horizon SFT in EX less the same gain in EM",
        (lambda m: gain(m, "short_sft", "rl_process") - gain(m, "short_sft", "rl_process", em),),
        "+5.0 / +5.0",
    ),
    Takeaway(
        "T4", "Gains are larger on later turns and on harder SQL",
        "EX gain of RL over short-horizon SFT: turns >= 2 less turn 1, and hard or extra less easy or medium",
        (lambda m: contrast(m, later, first_turn), lambda m: contrast(m, hard, easy)),
    ),
    Takeaway(
        "T5", "RL helps out of domain",
        "EX(RL) - EX(round 3) on the corpus not trained on",
        (lambda m: gain(m, "round3", "rl_process", ex, away),),
        "+1.6 / +3.2",
    ),
    Takeaway(
        "T6", "Dense process rewards help on harder questions",
        "EX(RL outcome + process) - EX(RL outcome), both branches of the same outcome run, on hard and extra",
        (lambda m: gain(m, "outcome_branch", "rl_process", ex, hard),),
        "+0.7 / 0.0 on all questions",
    ),
    Takeaway(
        "T7", "Calling tools, verifying and correcting go along with EX",
        "correlation with EX over six checkpoints and all seeds of calls of exec_sql, of right verdicts on "
        "results, and of how much closer to gold the last of several proposals is than the first",
        tuple(lambda m, a=ability: correlation(m, a) for ability in (calls, verified, corrected)),
    ),
    Takeaway(
        "T8", "The agent learns to mend failures of execution, empty results included",
        "EX of each agent's own episodes that met an error or an unexpected empty result: RL less untrained",
        (lambda m: gain(m, "untrained", "rl_process", recovered),),
    ),
)  # fmt: skip

ABLATIONS = tuple(
    Takeaway(name, claim, f"EX({second}) - EX({first})", (lambda m, a=first, b=second: gain(m, a, b),))
    for name, claim, first, second in (
        ("A1", "Long-horizon RL beats short-horizon RL", "short_rl", "rl_outcome"),
        ("A2", "The execute tool helps", "no_execute", "rl_outcome"),
        ("A3", "The memory tool helps", "no_memory", "rl_outcome"),
        ("A4", "The curriculum helps", "no_curriculum", "rl_outcome"),
        ("A5", "Difficulty-aware selection helps", "unselected", "round3"),
        ("A6", "Process reward from the last third on beats it throughout", "process_all", "rl_process"),
        ("A7", "Both process rewards beat propose alone", "propose_only", "rl_process"),
        ("A8", "Both process rewards beat verify alone", "verify_only", "rl_process"),
        ("A9", "No KL term is better than the paper's", "kl", "rl_outcome"),
        ("A10", "Gold history is easier than predicted history", "rl_process_predicted", "rl_process"),
        ("A11", "RL beats short-horizon SFT", "short_sft", "rl_process"),
    )
)


@dataclass(frozen=True)
class Finding:
    """A tested claim: a spread for each of its parts; none while a system that it needs was not played."""

    claim: Takeaway
    seeds: int
    parts: tuple[Spread, ...] = ()

    @property
    def interval(self) -> Interval | None:
        """The 95 % interval of the weakest part, the one that reaches lowest."""
        return min((part.interval() for part in self.parts), key=lambda i: i.low, default=None)

    @property
    def verdict(self) -> str:
        """shown, contradicted, not shown; `one seed` of which nothing can be said, or `not run`."""
        if not self.parts:
            return "not run"
        if self.seeds < 2:
            return "one seed"
        if self.interval.low > 0:
            return "shown"
        below = any(part.interval(0.05 / len(self.parts)).high < 0 for part in self.parts)
        return "contradicted" if below else "not shown"


def check(claim: Takeaway, sheet: Sheet, draws: int = 2000) -> Finding:
    """Test one claim; a system that is missing leaves it `not run`."""
    means = Means(sheet)
    clusters = [f"{home} {row.dialogue_id}" for row, home in zip(sheet.questions, sheet.home, strict=True)]

    def spread(part: Callable[[Means], float]) -> Spread:
        def statistic(weights: np.ndarray, chosen: np.ndarray) -> float:
            means.weights, means.chosen = weights, chosen
            return part(means)

        return over_seeds(statistic, clusters, sheet.seeds, draws)

    try:
        return Finding(claim, sheet.seeds, tuple(spread(part) for part in claim.parts))
    except (KeyError, ValueError):  # a system was not played, or nothing was there to measure
        return Finding(claim, sheet.seeds)
