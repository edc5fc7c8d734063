"""The report of a run: `report.md`, `report.html` and `report.json` in the run folder, from what the stages
left.

It computes nothing that is not in the store: episodes were judged when they were played. The JSON holds
every figure of the tables and more, among it the ids of all questions that failed or where two verdicts
differ.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from mtsql_lib.config import Profile
from mtsql_lib.document import html, markdown
from mtsql_lib.evaluation import abilities, per_cause, per_hardness, per_turn, plain, recovery, summary
from mtsql_lib.report_sections import sections
from mtsql_lib.results import SYSTEMS, Results, Tested, database_set, read_results
from mtsql_lib.rows import Row
from mtsql_lib.run import ROOT, Run
from mtsql_lib.runner import add_run_options, overrides_of, run_folder
from mtsql_lib.store import atomic_write


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of `report`: those that name a run."""
    add_run_options(parser)


def main(args: argparse.Namespace) -> int:
    """Write the report of a run and say where it lies and what is shown."""
    overrides = overrides_of(args)
    profile = Profile.load(args.profile, seed=args.seed, **overrides)
    paths = write_report(Run(profile, ROOT / run_folder(args.profile, args.seed, overrides)))
    for claim in json.loads(paths["json"].read_text(encoding="utf-8"))["claims"]:
        print(f"{claim['verdict']:<13} {claim['claim']} ({claim['corpus']})")
    print(f"written to {paths['html']}, {paths['markdown'].name} and {paths['json'].name}")
    return 0


def write_report(run: Run) -> dict[str, Path]:
    """Write the three files, each whole or not at all; returns their paths as markdown, html and json.

    Raises KitError if the run has no finished evaluation or the folder cannot be written.
    """
    results = read_results(run)
    tested = results.tested()
    databases = database_set(run, [row for rows in results.systems.values() for row in rows])
    title = f"MTSQL-R1 at the scale of profile {run.profile.name}, seed {run.profile.seed}"
    parts = sections(results, tested, databases)
    figures = json.dumps(as_json(results, tested, databases), indent=1, ensure_ascii=False)
    paths = {"markdown": "report.md", "html": "report.html", "json": "report.json"}
    texts = {"markdown": markdown(title, parts), "html": html(title, parts), "json": figures + "\n"}
    for kind, name in paths.items():
        atomic_write(run.folder / name, texts[kind])
    return {kind: run.folder / name for kind, name in paths.items()}


def as_json(results: Results, tested: list[Tested], databases: dict[str, Any]) -> dict[str, Any]:
    """All figures as plain values, per cent and points; a claim that could not be tested has the verdict
    `not run`.
    """
    profile = results.run.profile
    return {
        "profile": profile.name,
        "seed": profile.seed,
        "trained_on": profile.data.train,
        "scoring": {"answers": "paper", "verdicts": "official, strict beside", "databases": databases},
        "claims": [
            {"id": t.plan.id, "claim": t.plan.claim, "corpus": t.corpus, "verdict": t.verdict}
            | (plain(t.found) if t.found else {})
            for t in tested
        ],
        "systems": [
            {"system": name, "title": SYSTEMS[name].title, "corpus": corpus, "domain": results.domain(corpus)}
            | _figures(rows)
            for (name, corpus), rows in results.systems.items()
        ],
        "missing": [f"{name}/{corpus}" for name, corpus in results.missing],
        "stages": [plain(stage) for stage in results.stages],
    }


def _figures(rows: list[Row]) -> dict[str, Any]:
    return {
        **plain(summary(rows)),
        "per_turn": [plain(p) for p in per_turn(rows)],
        "per_hardness": [plain(p) for p in per_hardness(rows)],
        "per_cause": [plain(p) for p in per_cause(rows)],
        "abilities": [plain(m) for m in abilities(rows)],
        "recovery": [plain(m) for m in recovery(rows)],
    }
