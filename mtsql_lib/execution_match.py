"""Execution match: two queries are run and their results compared, on every file of a database's folder.

One file in the folder makes this execution accuracy (EX), many files test-suite accuracy (TS). `official`
mode gives the verdicts of the official evaluator (taoyds/test-suite-sql-eval, `exec_eval.py`; rules and
deviations: docs/evaluator.md): DISTINCT is deleted from both queries unless `keep_distinct`, columns may be
permuted, row order counts only if gold says "order by", and two empty results match. `strict` mode keeps
DISTINCT, counts order wherever gold's outermost query has ORDER BY and then asks the prediction to have one
too, and does not take two empty results for evidence. Running is the executor's part, and so are deadlines
and refusals.
"""

import os
import re
from collections import Counter
from functools import lru_cache
from typing import NamedTuple

from mtsql_lib.executor import Executor, Outcome
from mtsql_lib.sql_text import without_distinct
from mtsql_lib.statements import tokens

_CURRENT_YEAR = r"(?i)YEAR\s*\(\s*CURDATE\s*\(\s*\)\s*\)\s*"
_SEARCH_STEPS = 100_000


class ExecutionResult(NamedTuple):
    """The verdict and how it came about.

    `status`: match, mismatch, vacuous (both results empty: a match officially, none in strict mode),
    gold_failed, prediction_failed, empty_prediction. `message` says what failed and how. `files` were
    compared.
    """

    match: bool
    status: str
    message: str = ""
    files: int = 1


def execution_match(
    executor: Executor,
    database_id: str,
    gold: str,
    predicted: str,
    mode: str = "official",
    keep_distinct: bool = False,
    plug_value: bool = False,
) -> ExecutionResult:
    """Compare the results of two queries on every file of `<databases>/<database_id>` whose name contains
    `.sqlite`.

    `mode` is "official" or "strict" (which always keeps DISTINCT). `plug_value` also tries gold's values in
    place of the prediction's (`value_slots`). Nothing is raised for SQL that fails: that is a status. Equal
    results say nothing about other data.
    """
    if not predicted.strip():
        return ExecutionResult(False, "empty_prediction", files=0)
    strict = mode == "strict"
    wanted = prepared(gold, keep_distinct or strict)
    given = wanted if predicted == gold else prepared(predicted, keep_distinct or strict)
    names = database_files(os.fspath(executor.databases), database_id)
    result = _on_files(executor, names, wanted, given, strict)
    if plug_value and not strict and not result.match and result.status != "gold_failed":
        from mtsql_lib.value_slots import fillings

        filled = (_on_files(executor, names, wanted, sql, strict) for sql in fillings(wanted, given))
        result = next((other for other in filled if other.match), result)
    return result


def _on_files(
    executor: Executor, names: tuple[str, ...], gold: str, predicted: str, strict: bool
) -> ExecutionResult:
    seen_rows = False
    for name in names:
        wanted = run(executor, name, gold)
        if not wanted.ok:
            return ExecutionResult(False, "gold_failed", f"{wanted.kind}: {wanted.message}", len(names))
        if predicted != gold:
            given = run(executor, name, predicted)
            if not given.ok:
                return ExecutionResult(
                    False, "prediction_failed", f"{given.kind}: {given.message}", len(names)
                )
            if not _same_outcome(gold, predicted, wanted.rows, given.rows, strict):
                return ExecutionResult(False, "mismatch", files=len(names))
        seen_rows |= bool(wanted.rows)
    if not seen_rows:
        return ExecutionResult(not strict or same_text(gold, predicted), "vacuous", files=len(names))
    return ExecutionResult(True, "match", files=len(names))


def _same_outcome(gold: str, predicted: str, wanted: tuple, given: tuple, strict: bool) -> bool:
    if not strict:
        return same_rows(wanted, given, "order by" in gold.lower())
    ordered = len(wanted) == len(given) > 1 and is_ordered(gold)
    return same_rows(wanted, given, ordered, by_value=True) and (not ordered or is_ordered(predicted))


@lru_cache(maxsize=1024)
def database_files(databases: str, database_id: str) -> tuple[str, ...]:
    """The files to compare on, as the executor names them: the database's own id, or `<id>/<file>` for each
    of many.

    The folder is listed once per process.
    """
    try:
        names = sorted(name for name in os.listdir(os.path.join(databases, database_id)) if ".sqlite" in name)
    except OSError:
        return (database_id,)
    names = [name for name in names if not name.endswith(("-journal", "-wal", "-shm"))]
    own = f"{database_id}.sqlite"
    return tuple(database_id if name == own else f"{database_id}/{name}" for name in names) or (database_id,)


def prepared(sql: str, keep_distinct: bool) -> str:
    """The text as the official evaluator runs it: `> =` joined, DISTINCT deleted, MySQL's current year made
    2020.
    """
    if " =" in sql:
        sql = sql.replace("> =", ">=").replace("< =", "<=").replace("! =", "!=")
    if not keep_distinct:
        sql = without_distinct(sql)
    return re.sub(_CURRENT_YEAR, "2020", sql) if "(" in sql and "curdate" in sql.lower() else sql


def run(executor: Executor, name: str, sql: str) -> Outcome:
    """Run prepared SQL as Python's sqlite3 would: no statement gives no rows, `a;;` is one statement too
    many.
    """
    outcome = executor.execute(name, sql)
    if outcome.ok:
        return Outcome("error", message="more than one statement") if _several(sql) else outcome
    return outcome if _essence(sql) else Outcome("empty")


def is_ordered(sql: str) -> bool:
    """True if the outermost query has an ORDER BY, however it is spaced; one inside parentheses does not
    count.
    """
    if "order" not in sql.lower():
        return False
    outer = [token.text.lower() for token in tokens(sql) if token.depth == 0 and token.kind == "word"]
    return ("order", "by") in zip(outer, outer[1:], strict=False)


def same_text(one: str, other: str) -> bool:
    """True if two texts differ in nothing but space, comments, the case of words and semicolons."""
    return one == other or _essence(one) == _essence(other)


def _several(sql: str) -> bool:
    if sql.count(";") < 2:
        return False
    texts = [token.text for token in tokens(sql)]
    return ";" in texts[:-1]


def _essence(sql: str) -> list[str]:
    found = (token.text.lower() if token.kind == "word" else token.text for token in tokens(sql))
    return [text for text in found if text != ";"]


# Comparison of results


def same_rows(
    wanted: tuple[tuple, ...], given: tuple[tuple, ...], ordered: bool, by_value: bool = False
) -> bool:
    """True if one permutation of the columns of `given` makes it `wanted`, as a list if `ordered`, else as
    a bag.

    Cells compare as in Python: 1 == 1.0, but 1 != "1" and "A" != "a". Unless `by_value`, a quirk of the
    official comparison is kept: it first sorts the cells of each row by spelling and type and compares what
    comes out, so that an int can differ from an equal float. Raises nothing; a search that does not end
    soon counts as no match.
    """
    if wanted is given:
        return True
    if len(wanted) != len(given):
        return False
    if not wanted:
        return True
    width = len(wanted[0])
    if len(given[0]) != width:
        return False
    if width == 1:
        return wanted == given or not ordered and Counter(wanted) == Counter(given)
    if wanted != given:
        match = _permuted_lists(wanted, given) if ordered else _permuted_bags(wanted, given)
        if not match:
            return False
    return by_value or not _has_float(wanted, given) or _same_sorted_cells(wanted, given, ordered)


def _has_float(*results: tuple[tuple, ...]) -> bool:
    return any(float in set(map(type, column)) for rows in results for column in zip(*rows, strict=True))


def _same_sorted_cells(wanted: tuple[tuple, ...], given: tuple[tuple, ...], ordered: bool) -> bool:
    if wanted == given and repr(wanted) == repr(given):
        return True

    def spelling(cell):
        return str(cell) + str(type(cell))

    one = [tuple(sorted(row, key=spelling)) for row in wanted]
    other = [tuple(sorted(row, key=spelling)) for row in given]
    return one == other if ordered else set(one) == set(other)


def _permuted_lists(wanted: tuple[tuple, ...], given: tuple[tuple, ...]) -> bool:
    """Equal columns are interchangeable, so the columns only have to be equal as a bag."""
    return Counter(zip(*wanted, strict=True)) == Counter(zip(*given, strict=True))


def _permuted_bags(wanted: tuple[tuple, ...], given: tuple[tuple, ...]) -> bool:
    """Columns are matched one by one; a partial match is kept only while the rows cut to it are equal as
    bags.
    """
    columns, choices = list(zip(*wanted, strict=True)), list(zip(*given, strict=True))
    bags = [Counter(column) for column in choices]
    candidates = []
    for column in columns:
        bag = Counter(column)
        candidates.append([n for n, other in enumerate(bags) if other == bag])
        if not candidates[-1]:
            return False
    order = sorted(range(len(columns)), key=lambda n: len(candidates[n]))
    prefixes = [
        Counter(zip(*(columns[n] for n in order[: depth + 1]), strict=True)) for depth in range(len(order))
    ]
    return _search(order, candidates, prefixes, choices, [], [_SEARCH_STEPS])


def _search(order, candidates, prefixes, choices, taken: list[int], steps: list[int]) -> bool:
    depth = len(taken)
    if depth == len(order):
        return True
    tried = set()
    for n in candidates[order[depth]]:
        if n in taken or choices[n] in tried:
            continue
        steps[0] -= 1
        if steps[0] < 0:
            return False
        tried.add(choices[n])
        chosen = [*taken, n]
        if Counter(zip(*(choices[c] for c in chosen), strict=True)) == prefixes[depth] and _search(
            order, candidates, prefixes, choices, chosen, steps
        ):
            return True
    return False
