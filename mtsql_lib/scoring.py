"""The judge: both metrics in both modes for one prediction, and the command that scores files of them.

`python -m mtsql_lib score --gold G --pred P --db DIR --tables TABLES.json` prints the official table and
below it what the official script does not say: which metric this is, question and interaction match under
their names, the strict verdicts, and what was odd about the files.
"""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from mtsql_lib.errors import KitError
from mtsql_lib.exact_match import clauses, exact_match, hardness, same_strictly
from mtsql_lib.execution_match import ExecutionResult, database_files, execution_match
from mtsql_lib.executor import Executor, Limits
from mtsql_lib.scoring_files import Pair, pair_files
from mtsql_lib.scoring_report import Report
from mtsql_lib.scoring_table import TurnScore
from mtsql_lib.scoring_workers import run_jobs
from mtsql_lib.spider_schema import EvaluatorSchema, TablesJson, evaluator_schema
from mtsql_lib.spider_sql import SpiderSyntaxError

# The official evaluator knows no limits: these only stop what would never end or not fit.
SCORING_LIMITS = Limits(
    60.0, 5_000_000, 100_000_000, 2_000_000_000, 1_000_000
)  # seconds, rows, cell, all cells, SQL


class Score(NamedTuple):
    """What the judge says of one prediction: execution match and exact set match, official and strict.

    `hardness` is that of gold, "unknown" if gold is outside Spider's grammar (then no exact match is
    possible). `status` and `message` are those of the official `ExecutionResult`; `components` those of
    `ExactResult`.
    """

    ex: bool
    em: bool
    ex_strict: bool
    em_strict: bool
    hardness: str
    parsed: bool
    status: str
    message: str = ""
    components: dict[str, tuple[int, int, int]] | None = None


class Judge:
    """Scores predictions against gold on a folder of databases; keeps schemas, clause trees and results.

    `tables_json` gives the foreign keys that exact set match merges; without it those that the databases
    declare count. `value_slots` does what the official script does to every prediction before its two
    metrics: the text `value` becomes `1`. The strict verdicts never see that edit. Safe to share among
    threads.
    """

    def __init__(
        self,
        databases: str | Path,
        tables_json: str | Path | None = None,
        *,
        executor: Executor | None = None,
        keep_distinct: bool = False,
        plug_value: bool = False,
        value_slots: bool = False,
    ) -> None:
        self.databases, self.keep_distinct = Path(databases), keep_distinct
        self.plug_value, self.value_slots = plug_value, value_slots
        self.executor = executor or Executor(self.databases, limits=SCORING_LIMITS)
        self._tables = TablesJson(tables_json) if tables_json else None
        self._schemas: dict[str, EvaluatorSchema] = {}

    def __repr__(self) -> str:
        return f"Judge({str(self.databases)!r}, {len(self._schemas)} schemas read)"

    def schema(self, database_id: str) -> EvaluatorSchema:
        """The schema that exact set match uses for a database. Raises KitError if there is none."""
        schema = self._schemas.get(database_id)
        if schema is None:
            path = self.databases / database_id / f"{database_id}.sqlite"
            if not path.is_file():
                raise KitError(
                    f"{path}: no such database; check --db and the database names of the gold file"
                )
            entry = self._tables.entry(database_id) if self._tables else None
            schema = self._schemas[database_id] = evaluator_schema(path, entry)
        return schema

    def clauses(self, database_id: str, sql: str) -> dict | None:
        """The clause parse of a query (`exact_match.clauses`), None outside Spider's grammar."""
        return clauses(sql, self.schema(database_id))

    def score(self, question, predicted: str) -> Score:
        """Score one prediction; `question` has `database_id` and `gold`, or is that pair. Raises KitError."""
        database_id, gold = question if isinstance(question, tuple) else (question.database_id, question.gold)
        schema = self.schema(database_id)
        official = predicted.replace("value", "1") if self.value_slots else predicted
        ran = execution_match(
            self.executor, database_id, gold, official, "official", self.keep_distinct, self.plug_value
        )
        try:
            level = hardness(gold, schema)
        except SpiderSyntaxError:
            strict = self._strict(database_id, gold, predicted, False, ran)
            return Score(ran.match, False, strict.match, False, "unknown", False, ran.status, ran.message)
        exact = exact_match(gold, official, schema)
        if official == predicted:
            em_strict = exact.match and exact.parsed and same_strictly(gold, predicted, schema)
        else:
            em_strict = exact_match(gold, predicted, schema, "strict").match
        strict = self._strict(database_id, gold, predicted, em_strict, ran)
        verdicts = ran.match, exact.match, strict.match, em_strict
        return Score(*verdicts, level, exact.parsed, ran.status, ran.message, exact.components)

    def _strict(
        self, database_id: str, gold: str, predicted: str, em_strict: bool, official: ExecutionResult
    ) -> ExecutionResult:
        """Two empty results prove nothing, unless the queries are the same."""
        if predicted == gold and official.match and "distinct" not in gold.lower():
            return official
        result = execution_match(self.executor, database_id, gold, predicted, "strict")
        if result.status == "vacuous" and em_strict:
            return ExecutionResult(True, "vacuous", files=result.files)
        return result


# The command


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the `score` command."""
    parser.add_argument(
        "--gold", required=True, help="gold file: SQL<TAB>database a line, empty line between dialogues"
    )
    parser.add_argument("--pred", required=True, help="predicted SQL, line by line as in the gold file")
    parser.add_argument(
        "--db", required=True, help="folder of databases: <id>/<id>.sqlite, or many files for test suites"
    )
    parser.add_argument("--tables", required=True, help="tables.json of the corpus")
    parser.add_argument(
        "--mode", choices=("official", "strict"), default="official", help="verdicts of the table"
    )
    parser.add_argument(
        "--keep-distinct",
        "--keep_distinct",
        action="store_true",
        help="do not delete DISTINCT before running",
    )
    parser.add_argument(
        "--plug-value", "--plug_value", action="store_true", help="try gold's values in the predictions"
    )
    parser.add_argument("--json", metavar="FILE", help="write every turn's verdicts and the totals")


def main(args: argparse.Namespace) -> int:
    """Score two files; prints the report and returns 0. Raises KitError for files that cannot be scored."""
    gc.disable()  # nothing here makes cycles, and looking for them costs a tenth of the time
    try:
        return _score_files(args)
    finally:
        gc.freeze()  # nor does the end of the process have to look for them
        gc.enable()


def _score_files(args: argparse.Namespace) -> int:
    pairing = pair_files(args.gold, args.pred)
    judge = Judge(
        args.db, args.tables, keep_distinct=args.keep_distinct, plug_value=args.plug_value, value_slots=True
    )
    report = Report(score_pairs(judge, pairing.pairs), pairing, args.mode, metric_name(judge, pairing.pairs))
    print(report.text())
    if args.json:
        report.write(args.json)
    return 0


def metric_name(judge: Judge, pairs: Sequence[Pair]) -> str:
    """ "execution accuracy" if every folder holds one database file, else "test-suite accuracy"."""
    folders = {pair.database_id for pair in pairs}
    many = any(len(database_files(os.fspath(judge.databases), folder)) > 1 for folder in folders)
    return "test-suite accuracy" if many else "execution accuracy"


def score_pairs(judge: Judge, pairs: Sequence[Pair], workers: int | None = None) -> list[TurnScore]:
    """The verdicts on all turns, in their order; databases are shared out among `workers` processes."""
    by_database: dict[str, list[int]] = {}
    for number, pair in enumerate(pairs):
        by_database.setdefault(pair.database_id, []).append(number)
    jobs = sorted(
        by_database.values(), key=lambda numbers: -_size(judge.databases, pairs[numbers[0]]) * len(numbers)
    )
    results = run_jobs(
        len(jobs), lambda job: [_verdicts(judge, pairs[number]) for number in jobs[job]], workers
    )
    verdicts = {
        n: verdict
        for numbers, found in zip(jobs, results, strict=True)
        for n, verdict in zip(numbers, found, strict=True)
    }
    return [
        TurnScore(pair.session, pair.turn, pair.database_id, *verdicts[number])
        for number, pair in enumerate(pairs)
    ]


def _size(databases: Path, pair: Pair) -> int:
    try:
        return os.stat(databases / pair.database_id / f"{pair.database_id}.sqlite").st_size
    except OSError:
        return 0


def _verdicts(judge: Judge, pair: Pair) -> tuple:
    """hardness, parsed, exact, exec, exact_strict, exec_strict, status, message, components of one turn."""
    score = judge.score((pair.database_id, pair.gold), pair.predicted or "")
    status = score.status if pair.predicted is not None else "missing_prediction"
    exact = score.em, score.ex, score.em_strict, score.ex_strict
    components = tuple((score.components or {}).values())
    return score.hardness, score.parsed, *exact, status, score.message, components


if __name__ == "__main__":
    _parser = argparse.ArgumentParser(prog="python -m mtsql_lib.scoring", description=__doc__)
    add_arguments(_parser)
    try:
        sys.exit(main(_parser.parse_args()))
    except KitError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
