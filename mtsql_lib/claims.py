"""The claim ledger: every system of the takeaways for several seeds, then each one tested (`make claims`).

The runs are those of `make reproduce` with the same seeds and go on from what these have done; every stage
resumes. After each seed the ledger is written anew to `recorded/claims.json`, the curves to
`recorded/curves.json` and the page to `docs/claims.md`, so that hours can be spread over several sittings.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from typing import Any

from mtsql_lib.arms import ARMS
from mtsql_lib.errors import KitError
from mtsql_lib.reinforcement import measure_difficulty, reinforce
from mtsql_lib.results import system_rows
from mtsql_lib.rows import Row
from mtsql_lib.run import ROOT, Run, development, open_run
from mtsql_lib.runner import run_folder
from mtsql_lib.store import atomic_write, read_json
from mtsql_lib.systems import ABLATIONS, SYSTEMS, evaluate
from mtsql_lib.takeaways import ABLATIONS as ABLATION_CLAIMS
from mtsql_lib.takeaways import TAKEAWAYS, Finding, Sheet, Takeaway, check
from mtsql_lib.warm_start import sample_round, short_horizon, warm_start

UNSELECTED = {"sampling.by_difficulty": False}  # a run of its own, up to the warm start
_CURVES = ("reward", "held_out", "sampled_tokens", "ex", "recovered")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `python -m mtsql_lib claims`."""
    parser.add_argument("--profile", default="laptop", help="profile of the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="training seeds")
    parser.add_argument("--only-test", action="store_true", help="train nothing; test what is there")


def main(args: argparse.Namespace) -> int:
    """Run what is missing, seed by seed, and write the ledger after each."""
    runs: list[tuple[Run, Run]] = []
    for seed in args.seeds:
        pair = _open(args.profile, seed), _open(args.profile, seed, UNSELECTED)
        if not args.only_test:
            complete(*pair)
        runs.append(pair)
        findings = findings_of(runs)
        record(runs, findings)
    for finding in findings:
        print(_line(finding))
    return 0


def complete(run: Run, unselected: Run) -> None:
    """Every training stage and evaluation that the claims need, for one seed."""
    corpora = run.profile.data.test
    _warm(run)
    short_horizon(run)
    measure_difficulty(run)
    twins = {name for name, arm in ARMS.items() if arm.beta == run.profile.rl.beta}  # of the outcome arm
    for arm in ARMS:
        if arm not in twins:
            reinforce(run, arm)
    for system, (checkpoint, _) in (SYSTEMS | ABLATIONS).items():
        for corpus in corpora if checkpoint not in twins else ():
            evaluate(run, system, corpus)
    _warm(unselected)
    for corpus in corpora:
        evaluate(unselected, "round3", corpus)


def _warm(run: Run) -> None:
    for number in range(1, run.profile.sampling.rounds + 1):
        sample_round(run, number)
        warm_start(run, number)


def findings_of(runs: Sequence[tuple[Run, Run]]) -> list[Finding]:
    """All takeaways and ablations on the seeds at hand."""
    sheet = sheet_of(runs)
    return [check(claim, sheet) for claim in (*TAKEAWAYS, *ABLATION_CLAIMS)]


def sheet_of(runs: Sequence[tuple[Run, Run]]) -> Sheet:
    """The rows of every system that all seeds have played on all development sets."""
    corpora, train = runs[0][0].profile.data.test, runs[0][0].profile.data.train
    rows: dict[str, list[list[Row]]] = {}
    for name in (*SYSTEMS, *ABLATIONS, "unselected"):
        found = [_played(*pair, name) for pair in runs]
        if all(found):
            rows[name] = found
    if not rows:
        raise KitError(f"no evaluation in {runs[0][0].folder} is finished: leave --only-test out")
    home = tuple(corpus == train for corpus in corpora for _ in development(runs[0][0], corpus))
    return Sheet(rows, home)


def _played(run: Run, unselected: Run, name: str) -> list[Row]:
    """The rows of a system on all development sets, empty unless all of them are finished."""
    where, system = (unselected, "round3") if name == "unselected" else (run, name)
    corpora = run.profile.data.test
    if not all(read_json(where.folder / f"eval_{system}/{corpus}" / "manifest.json") for corpus in corpora):
        return []
    return [row for corpus in corpora for row in system_rows(where, system, corpus)]


def record(runs: Sequence[tuple[Run, Run]], findings: Sequence[Finding]) -> None:
    """Write ledger, curves and page."""
    seeds = [run.profile.seed for run, _ in runs]
    ledger = [_entry(finding, seeds) for finding in findings]
    curves = {
        str(run.profile.seed): {
            arm: {name: points for name in _CURVES if (points := run.store.metrics(arm, name))}
            for arm in ARMS
        }
        for run, _ in runs
    }
    atomic_write(ROOT / "recorded" / "claims.json", json.dumps(ledger, indent=1) + "\n")
    atomic_write(ROOT / "recorded" / "curves.json", json.dumps(curves) + "\n")
    atomic_write(ROOT / "docs" / "claims.md", page(findings, seeds, runs[0][0].profile.name))


def _entry(finding: Finding, seeds: list[int]) -> dict[str, Any]:
    claim, found = finding.claim, finding.interval
    return {
        "id": claim.id,
        "claim": claim.claim,
        "statistic": claim.statistic,
        "estimate": found and found.estimate,
        "low": found and found.low,
        "high": found and found.high,
        "seeds": seeds,
        "verdict": finding.verdict,
        "paper": claim.paper,
    }


def page(findings: Sequence[Finding], seeds: list[int], profile: str) -> str:
    """`docs/claims.md`."""
    named = ", ".join(map(str, seeds))
    lines = [_PAGE.format(profile=profile, seeds=named)]
    for title, part in (("Takeaways", TAKEAWAYS), ("Ablations", ABLATION_CLAIMS)):
        chosen = [f for f in findings if f.claim in part]
        lines += [f"## {title}\n", "| | claim | statistic | found | verdict | paper |", "|---" * 6 + "|"]
        lines += [_row(finding) for finding in chosen]
        lines.append("")
    return "\n".join(lines)


def _row(finding: Finding) -> str:
    c: Takeaway = finding.claim
    found = _shown(finding)
    return f"| {c.id} | {c.claim} | {c.statistic} | {found} | {finding.verdict} | {c.paper} |"


def _shown(finding: Finding) -> str:
    i = finding.interval
    return f"{i.estimate:+.2f} [{i.low:+.2f}, {i.high:+.2f}]" if i else "–"


def _line(finding: Finding) -> str:
    return f"{finding.claim.id:<4} {finding.verdict:<13} {_shown(finding):<24} {finding.claim.claim}"


_PAGE = """# The claim ledger

Written by `make claims` (profile `{profile}`, training seeds {seeds}). What each test is was fixed in
`mtsql_lib/takeaways.py` beforehand. Percentage points (T7: a correlation) with 95 % intervals over dialogues
and seeds (Student's t), on both development sets unless the statistic says otherwise; of a claim of several
parts the weakest is shown. Paper: Qwen3-1.7B, CoSQL / SParC; its levels do not compare with a tiny model's.
"""


def _open(profile: str, seed: int, overrides: dict[str, Any] | None = None) -> Run:
    folder = run_folder(profile, seed, overrides)
    return open_run(profile, seed, str(folder), json.dumps(overrides or {}))
