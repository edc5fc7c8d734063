"""Scoring a development set, EX and EM: the official evaluator against `python -m mtsql_lib score`, in one
run.

python benchmarks/scoring.py OFFICIAL [--python PY] [--gold G --pred P --db DIR --tables T] [--repeat 3]

OFFICIAL is a checkout of taoyds/test-suite-sql-eval, which is not part of this kit; PY is a Python that has
its nltk and sqlparse (the default is this one). Without files of your own, the bundled `steps` dev set is
scored with every third query changed. Both sides are whole processes on the same files, taken in turns,
start of Python included; each runs once beforehand, uncounted, which leaves Python's byte code of both in a
temporary folder (an installed nltk has its own already). Prints the ratio of the best wall times, of the
processor's seconds (on a machine that does other work trust that one), the peak memory, and whether the
printed tables are the same.

The official script gets a copy of the databases, since it opens them for writing, and nltk's
`preserve_line=True`, which gives the same tokens without the sentence model that nltk would have to
download. Its time without that is longer.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mtsql_lib.dialogues import find_split, read_dialogues

ROOT = Path(__file__).resolve().parent.parent
RUNNER = """
import functools, runpy, sys, nltk, nltk.tokenize
nltk.word_tokenize = functools.partial(nltk.tokenize.word_tokenize, preserve_line=True)
sys.argv = sys.argv[1:]
sys.path.insert(0, sys.argv[0].rsplit("/", 1)[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Run:
    """One process: seconds of wall time and of processors, megabytes of its largest process, what it
    printed.
    """

    wall: float
    cpu: float
    memory: float
    output: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "official", nargs="?", default=os.environ.get("MTSQL_OFFICIAL"), help="or MTSQL_OFFICIAL"
    )
    parser.add_argument("--python", default=os.environ.get("MTSQL_OFFICIAL_PYTHON", sys.executable))
    for name in ("--gold", "--pred", "--db", "--tables"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    if not options.official:
        print("scoring: skipped; give the folder of the official evaluator (or set MTSQL_OFFICIAL)")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        compare(options, Path(folder))
    return 0


def compare(options: argparse.Namespace, folder: Path) -> None:
    if options.gold is None:
        bundled_files(options, folder)
    names = {line.rstrip("\n").split("\t")[1] for line in options.gold.open(encoding="utf-8") if line.strip()}
    for name in names:
        shutil.copytree(options.db / name, folder / "databases" / name)
        for path in (folder / "databases" / name).iterdir():
            path.chmod(0o644)
    files = ["--gold", options.gold, "--pred", options.pred]
    script = Path(options.official) / "evaluation.py"
    official = [options.python, "-W", "ignore", "-c", RUNNER, script, *files, "--etype", "all"]
    official += ["--db", folder / "databases", "--table", options.tables]
    ours = [
        sys.executable,
        "-m",
        "mtsql_lib",
        "score",
        *files,
        "--db",
        options.db,
        "--tables",
        options.tables,
    ]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
    runs: dict[str, list[Run]] = {"official": [], "kit": []}
    for _ in range(1 + options.repeat):
        runs["official"].append(timed(official, environment))
        runs["kit"].append(timed(ours, environment))
    report({name: done[1:] for name, done in runs.items()})


def bundled_files(options: argparse.Namespace, folder: Path) -> None:
    """The bundled dev set as a gold file, and as predictions in which every third query is changed."""
    options.db, options.tables = ROOT / "data" / "database", ROOT / "data" / "steps" / "tables.json"
    options.gold, options.pred = folder / "gold.txt", folder / "pred.txt"
    changes = (
        (" ORDER BY ", " GROUP BY "),
        ("SELECT ", "SELECT DISTINCT "),
        (" AND ", " OR "),
        (" = ", " != "),
    )
    number = 0
    with options.gold.open("w") as gold, options.pred.open("w") as predicted:
        for dialogue in read_dialogues(find_split(ROOT / "data" / "steps", "dev")):
            for turn in dialogue.turns:
                gold.write(f"{turn.sql}\t{dialogue.database_id}\n")
                number += 1
                change = changes[number // 3 % len(changes)] if number % 3 == 0 else ("", "")
                predicted.write(turn.sql.replace(*change, 1) + "\n")
            gold.write("\n")
            predicted.write("\n")


def timed(command: list, environment: dict[str, str]) -> Run:
    with tempfile.TemporaryFile("w+") as output:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        parts = [str(part) for part in command]
        process = subprocess.Popen(parts, stdout=output, cwd=ROOT, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if process.returncode:
            raise SystemExit(f"{command[0]} failed with {process.returncode}")
        output.seek(0)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Run(wall, cpu, usage.ru_maxrss / 1024, output.read())


def table(output: str) -> list[str]:
    lines = output.splitlines()
    start = next(n for n, line in enumerate(lines) if line.split()[:2] == ["easy", "medium"])
    return lines[start:]


def report(runs: dict[str, list[Run]]) -> None:
    for name, done in runs.items():
        wall, cpu = (min(getattr(run, field) for run in done) for field in ("wall", "cpu"))
        memory = max(run.memory for run in done)
        print(
            f"{name:10} {wall:8.3f} s wall {cpu:8.3f} s of processors {memory:6.0f} MB in its largest process"
        )
    for field in ("wall", "cpu"):
        ratio = min(getattr(r, field) for r in runs["official"]) / min(getattr(r, field) for r in runs["kit"])
        print(f"ratio of {field:5} {ratio:6.1f}")
    official = table(runs["official"][0].output)
    print("same table:", "yes" if table(runs["kit"][0].output)[: len(official)] == official else "NO")


if __name__ == "__main__":
    sys.exit(main())
