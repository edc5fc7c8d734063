"""The executor against plain sqlite3, and its deadline against runaway statements, in one run.

    python benchmarks/executor.py [--databases data/database] [--gold data/talk/train.json] [--rounds 5]

Rate: every gold statement is executed in turn by all contenders, in rotating order, and each contender's best
time of `--rounds` counts; statements of a second or more run once. Contenders: connect, execute, fetch and
close with plain sqlite3; one open sqlite3 connection a database without any guard (the limit of what is
possible); the executor without and with its cache. What plain sqlite3 fails on is left out and counted, and
all results are compared once. The best of several times is little disturbed by other work on the machine. The
last column is the ratio for the median statement, which is over in some 15 microseconds.

Overshoot: each kind of runaway in tests/golden/runaways.sql runs `--repeats` times under `--deadline`. Two
figures: how late the answer comes by the clock on the wall, beside a loop that does nothing but look at that
clock (what the machine itself adds when it is busy); and the longest stretch of processor time in which a
statement did not look at the clock, its last look to its end included: on an idle machine no answer is later.
"""

import argparse
import re
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from unittest.mock import patch

from mtsql_lib import sandbox
from mtsql_lib.dialogues import read_dialogues
from mtsql_lib.executor import Executor, Limits

ROOT = Path(__file__).resolve().parent.parent
SPLIT_OPERATOR = re.compile(r"([<>!]) +=")  # `> =` in gold files; the official evaluator joins it, too
Statement = tuple[str, str]  # database, SQL


def main() -> None:
    """Prints both tables."""
    options = arguments()
    print(f"Python {sys.version.split()[0]}, SQLite {sqlite3.sqlite_version}")
    rate(options.databases, statements(options.gold), options.rounds)
    overshoot(options.databases, options.deadline, options.repeats)


def arguments() -> argparse.Namespace:
    """The command line; the defaults measure the bundled corpus."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--databases", type=Path, default=ROOT / "data" / "database")
    parser.add_argument("--gold", type=Path, default=ROOT / "data" / "talk" / "train.json")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--deadline", type=float, default=0.25, help="seconds")
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


def statements(gold: Path) -> list[Statement]:
    """All gold statements of a split, in its order, repetitions included."""
    skipped: list[str] = []
    found = [
        (dialogue.database_id, SPLIT_OPERATOR.sub(r"\1=", turn.sql))
        for dialogue in read_dialogues(gold, skipped)
        for turn in dialogue.turns
    ]
    print(f"{gold.name}: {len(found)} statements on {len({base for base, _ in found})} databases", end="")
    print(f", {len(skipped)} faulty dialogues left out" if skipped else "")
    return found


class Plain:
    """What one would write without a kit."""

    def __init__(self, databases: Path):
        self.databases = databases
        self.open: dict[str, sqlite3.Connection] = {}

    def anew(self, base: str, sql: str) -> list[tuple]:
        """Connect, execute, fetch, close."""
        connection = sqlite3.connect(self.databases / base / f"{base}.sqlite")
        try:
            return connection.execute(sql).fetchall()
        finally:
            connection.close()

    def persistent(self, base: str, sql: str) -> list[tuple]:
        """Execute and fetch on a connection that stays open."""
        if base not in self.open:
            self.open[base] = sqlite3.connect(self.databases / base / f"{base}.sqlite")
        return self.open[base].execute(sql).fetchall()


def rate(databases: Path, gold: list[Statement], rounds: int) -> None:
    """Seconds of every contender over all statements, as a table."""
    plain, limits = Plain(databases), Limits(seconds=120, rows=5_000_000, memory=2_000_000_000)
    with (
        Executor(databases, limits=limits, cache_size=0) as without,
        Executor(databases, limits=limits, cache_size=2 * len(gold)) as warm,
    ):
        kept = comparable(gold, plain, without, warm)
        contenders = {
            "connect, execute, close": plain.anew,
            "open connection, no guards": plain.persistent,
            "executor, no cache": without.execute,
            "executor, warm cache": warm.execute,
        }
        best = {name: [float("inf")] * len(kept) for name in contenders}
        for turn in range(rounds):
            for number, (base, sql) in enumerate(kept):
                if turn > 0 and best["open connection, no guards"][number] > 1:
                    continue
                for name in rotated(list(contenders), turn + number):
                    best[name][number] = min(best[name][number], timed(contenders[name], base, sql))
    table(best)


def comparable(gold: list[Statement], plain: Plain, without: Executor, warm: Executor) -> list[Statement]:
    """The statements that plain sqlite3 executes; says how many it does not, and checks the results."""
    kept, different = [], 0
    for base, sql in gold:
        outcome = without.execute(base, sql)
        warm.execute(base, sql)
        try:
            rows = plain.persistent(base, sql)
        except sqlite3.Error:
            continue
        kept.append((base, sql))
        different += tuple(rows) != outcome.rows
    print(f"{len(gold) - len(kept)} statements fail in plain sqlite3 and are left out")
    print(f"{different} of {len(kept)} results differ between plain sqlite3 and the executor\n")
    return kept


def rotated(names: list[str], by: int) -> Iterator[str]:
    """The names in an order that gives each every place equally often."""
    by %= len(names)
    yield from names[by:] + names[:by]


def timed(run: Callable, *given: str) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    run(*given)
    return time.perf_counter() - started


def table(best: dict[str, list[float]]) -> None:
    """A line for each contender: all statements, those under 50 ms, and the median statement."""
    limit = best["open connection, no guards"]
    quick = [number for number, seconds in enumerate(limit) if seconds < 0.05]
    print(f"{'rate over the open connection without guards =':46}{'all':>8} {'< 50 ms':>8} {'median':>8}")
    for name, seconds in best.items():
        every = sum(limit) / sum(seconds)
        short = sum(limit[n] for n in quick) / sum(seconds[n] for n in quick)
        middle = median(limit[n] / seconds[n] for n in quick)
        speed = f"{len(quick) / sum(seconds[n] for n in quick):,.0f} a second"
        print(f"{name:28}{speed:>17} {every:8.2f} {short:8.2f} {middle:8.2f}")
    print(f"({len(limit) - len(quick)} of {len(limit)} statements take 50 ms or longer)")
    against = sum(best["connect, execute, close"]) / sum(best["executor, no cache"])
    print(f"executor without cache over connect, execute, close: {against:.2f}\n")


def overshoot(databases: Path, deadline: float, repeats: int) -> None:
    """How late the answers to runaways come, in milliseconds."""
    lines = (ROOT / "tests" / "golden" / "runaways.sql").read_text(encoding="utf-8").splitlines()[1:]
    kinds = [(name[3:], sql) for name, sql in zip(lines[::2], lines[1::2], strict=True)]
    base = sorted(path.name for path in databases.iterdir() if path.is_dir())[0]
    late, machine, ends = [], [], Counter()
    stretches: dict[str, list[float]] = {name: [] for name, _ in kinds}
    with Executor(databases, limits=Limits(seconds=deadline), cache_size=0) as executor:
        for name, sql in kinds * repeats:
            started = time.perf_counter()
            ends[executor.execute(base, sql).kind] += 1
            late.append(milliseconds_after(started + deadline))
            machine.append(idle(deadline))
            stretches[name].append(longest_stretch(executor, base, sql))
    print(f"{len(kinds)} kinds of runaway, {repeats} times each, deadline {deadline:g} s: {dict(ends)}")
    distribution("late, wall", late)
    distribution("late, wall, a loop that only looks at the clock", machine)
    distribution(
        "processor time without a look at the clock", [x for values in stretches.values() for x in values]
    )
    worst = sorted(stretches, key=lambda name: median(stretches[name]), reverse=True)[:5]
    print("  longest:", ", ".join(f"{name} {median(stretches[name]):.1f}" for name in worst))


def distribution(name: str, values: list[float]) -> None:
    """One line: median, 99th percentile, maximum."""
    most, cut = max(values), quantiles(values, n=100)
    print(f"  {name:48} median {cut[49]:6.1f} ms, 99 % {min(cut[98], most):6.1f} ms, most {most:6.1f} ms")


def longest_stretch(executor: Executor, base: str, sql: str) -> float:
    """Milliseconds of processor time between two looks at the clock, or from the last look to the end."""
    looks = [time.thread_time()]

    def look() -> float:
        longest[0] = max(longest[0], time.thread_time() - looks[0])
        looks[0] = time.thread_time()
        return time.monotonic()

    longest = [0.0]
    with patch.object(sandbox, "monotonic", look):
        executor.execute(base, sql)
    return 1000 * max(longest[0], time.thread_time() - looks[0])


def milliseconds_after(moment: float) -> float:
    """How late it is; 0 before the moment."""
    return max(0.0, (time.perf_counter() - moment) * 1000)


def idle(seconds: float) -> float:
    """How late a loop ends that does nothing but watch for its end."""
    moment = time.perf_counter() + seconds
    while time.perf_counter() < moment:
        pass
    return milliseconds_after(moment)


if __name__ == "__main__":
    main()
