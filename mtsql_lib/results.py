"""Results of a run: the systems of the paper's Table 2, read from the run's store, and the comparisons that
were planned before any of them was played.

A system counts when its stage has a manifest; what is not there is named, never left out in silence. The
paper's figures are those of Qwen3-1.7B (Table 2 of MTSQL-R1); they show the direction, a tiny model's
scores do not compare.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from mtsql_lib.errors import KitError
from mtsql_lib.evaluation import Comparison, at_least, compare, recovery
from mtsql_lib.execution_match import database_files
from mtsql_lib.play import corpus_questions
from mtsql_lib.records import from_row
from mtsql_lib.rows import Row, row_of, unplayed
from mtsql_lib.run import Run, corpus_folder, development
from mtsql_lib.store import read_json, sha256_file, sha256_of

RECOVERS = 25.0  # per cent of the episodes that met trouble


@dataclass(frozen=True)
class System:
    """A row of the results table; `paper` holds its EX / EM there, tested on CoSQL and SParC, then the same
    trained on the other one."""

    title: str
    paper: tuple[str, str, str, str] = ("–", "–", "–", "–")
    ablation: bool = False


# Stage `eval_<name>/<corpus>` of the store -> row of the table.
SYSTEMS = {
    "direct": System("Direct prompting", ("59.9 / 49.3", "61.5 / 46.5", "59.9 / 49.3", "61.5 / 46.5")),
    "untrained": System(
        "Long-horizon, untrained", ("22.6 / 16.3", "23.9 / 17.8", "22.6 / 16.3", "23.9 / 17.8")
    ),
    "short_sft": System("Short-horizon SFT", ("68.1 / 59.3", "74.3 / 69.2", "64.1 / 55.2", "71.7 / 65.1")),
    "round1": System("Warm start, round 1", ("69.9 / 57.6", "70.6 / 62.0", "67.1 / 55.5", "67.3 / 58.1")),
    "round2": System("Warm start, round 2", ("72.2 / 60.5", "72.3 / 63.0", "67.2 / 54.2", "70.0 / 61.5")),
    "round3": System("Warm start, round 3", ("73.0 / 62.1", "72.8 / 65.7", "68.8 / 56.2", "71.3 / 62.7")),
    "rl_outcome": System("RL, outcome", ("76.6 / 62.7", "76.2 / 66.1", "70.3 / 59.8", "73.0 / 66.2")),
    "rl_process": System(
        "RL, outcome + process", ("77.3 / 63.5", "76.2 / 66.1", "70.4 / 59.8", "74.5 / 68.0")
    ),
    "rl_process_4msg": System("RL, outcome + process, at most four messages", ablation=True),
    "rl_process_predicted": System("RL, outcome + process, predicted history", ablation=True),
}
_KIND = {"talk": "CoSQL", "cosql": "CoSQL", "steps": "SParC", "sparc": "SParC"}


@dataclass(frozen=True)
class Planned:
    """A comparison stated beforehand: the second system is better in EX; without a first one, its episodes
    recover.
    """

    id: str
    claim: str
    first: str
    second: str
    where: Callable[[Row], bool] = lambda row: True


PLANNED = (
    Planned("warm_start", "The warm start beats the untrained agent", "untrained", "round3"),
    Planned("rl", "RL (outcome + process) beats the warm start", "round3", "rl_process"),
    Planned("rl_outcome", "RL (outcome) beats the warm start", "round3", "rl_outcome"),
    Planned("process", "Outcome + process beats outcome", "rl_outcome", "rl_process"),
    Planned(
        "long_horizon", "Long-horizon RL beats short-horizon SFT on turns >= 2", "short_sft", "rl_process",
        lambda row: row.turn > 0,
    ),
    Planned("recovery", f"After RL, trouble ends right in {RECOVERS:.0f} % or more", "", "rl_process"),
    # no less by construction: the agent is not told of the limit
    Planned("messages", "More than four messages help", "rl_process_4msg", "rl_process"),
    Planned("history", "Gold history is easier than predicted history", "rl_process_predicted", "rl_process"),
)  # fmt: skip


@dataclass(frozen=True)
class Tested:
    """A planned comparison on one corpus; `found` is None if a system is missing or there was no case."""

    plan: Planned
    corpus: str
    found: Comparison | None

    @property
    def verdict(self) -> str:
        """shown, not shown or contradicted; `not run` if there is nothing to compare."""
        return self.found.verdict if self.found else "not run"


@dataclass(frozen=True)
class Stage:
    """What one finished stage cost: wall seconds of its last sitting, the largest memory of its process
    up to its end in MB, episodes played, tokens sampled or trained on.
    """

    name: str
    seconds: float
    peak_mb: int
    episodes: int
    tokens: int
    counts: dict[str, Any]


@dataclass(frozen=True)
class Results:
    """Everything that a report is made from; `systems` maps (name, corpus) to rows."""

    run: Run
    systems: dict[tuple[str, str], list[Row]]
    missing: tuple[tuple[str, str], ...]
    stages: tuple[Stage, ...]

    @property
    def corpora(self) -> tuple[str, ...]:
        """The corpora that were evaluated, the one trained on first."""
        data = self.run.profile.data
        return tuple(sorted(data.test, key=lambda corpus: corpus != data.train))

    def domain(self, corpus: str) -> str:
        """In or out of domain."""
        return "in domain" if corpus == self.run.profile.data.train else "out of domain"

    def on(self, corpus: str, ablations: bool = False) -> dict[str, list[Row]]:
        """Rows by the system's title, in the table's order."""
        return {
            system.title: self.systems[name, corpus]
            for name, system in SYSTEMS.items()
            if (name, corpus) in self.systems and (ablations or not system.ablation)
        }

    def paper(self, name: str, corpus: str) -> str:
        """The paper's EX / EM for a system, where its corpora correspond to ours."""
        tested, trained = _KIND.get(corpus), _KIND.get(self.run.profile.data.train)
        if not tested or not trained:
            return "–"
        return SYSTEMS[name].paper[("CoSQL", "SParC").index(tested) + (0 if tested == trained else 2)]

    def tested(self) -> list[Tested]:
        """All planned comparisons on all corpora."""
        return [
            Tested(plan, corpus, self._compare(plan, corpus)) for plan in PLANNED for corpus in self.corpora
        ]

    def _compare(self, plan: Planned, corpus: str) -> Comparison | None:
        second = self.systems.get((plan.second, corpus))
        if second and not plan.first:
            return at_least(plan.claim, recovery(second)[-1], RECOVERS)
        first = self.systems.get((plan.first, corpus))
        return compare(plan.claim, first, second, where=plan.where) if first and second else None


def read_results(run: Run) -> Results:
    """Read a run; KitError if it has no store or no evaluation is finished."""
    if not (run.folder / "run.db").is_file():
        raise KitError(f"there is no run in {run.folder}: make reproduce first")
    wanted = [(name, corpus) for name in SYSTEMS for corpus in run.profile.data.test]
    done = [pair for pair in wanted if read_json(run.folder / _stage(*pair) / "manifest.json")]
    if not done:
        raise KitError(f"no evaluation in {run.folder} is finished: make reproduce goes on with it")
    systems = {pair: system_rows(run, *pair) for pair in done}
    return Results(run, systems, tuple(p for p in wanted if p not in done), tuple(_stages(run)))


def database_set(run: Run, rows: Sequence[Row]) -> dict[str, Any]:
    """Which databases the rows were judged on: folder, number, one hash over their files, and what EX is on
    them.
    """
    folder = run.table(run.profile.data.test[0]).databases
    asked = {
        q.id: q.database_id
        for c in run.profile.data.test
        for q in corpus_questions(corpus_folder(run, c), "dev")
    }
    used = sorted({asked[r.question_id] for r in rows if r.question_id in asked})
    many = any(len(database_files(os.fspath(folder), i)) > 1 for i in used)
    files = {p.name: sha256_file(p) for i in used for p in sorted((folder / i).glob("*.sqlite"))}
    metric = "test-suite accuracy" if many else "execution accuracy"
    return {
        "folder": run.profile.data.databases,
        "databases": len(used),
        "sha256": sha256_of(files),
        "metric": metric,
    }


def _stage(name: str, corpus: str) -> str:
    return f"eval_{name}/{corpus}"


def system_rows(run: Run, name: str, corpus: str) -> list[Row]:
    """A row for each question that the system was to answer, also for one whose episode is not in the
    store.
    """
    judge = run.table(corpus).judge
    stored = {row["question_id"]: row for row in run.store.episodes(_stage(name, corpus))}
    return [
        row_of(from_row(stored[q.id], q), judge)
        if q.id in stored
        else unplayed(q, "no episode of it is in the store", judge)
        for q in development(run, corpus)
    ]


def _stages(run: Run) -> list[Stage]:
    manifests = [read_json(path) for path in run.folder.rglob("manifest.json")]
    sql = """select count(*) as episodes, coalesce(sum(sampled_tokens), 0) as tokens from episodes
             where stage = :name or substr(stage, 1, length(:name) + 1) = :name || '/'"""
    found = []
    for manifest in sorted(
        (m for m in manifests if "finished" in m), key=lambda m: (m["finished"], m["stage"])
    ):
        (played,) = run.store.db.query(sql, {"name": manifest["stage"]})
        counts = manifest.get("counts", {})
        tokens = played["tokens"] or counts.get("tokens", 0)
        cost = manifest["seconds"], manifest["peak_mb"], played["episodes"], tokens
        found.append(Stage(manifest["stage"], *cost, counts))
    return found
