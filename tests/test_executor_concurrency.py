"""Sixteen threads and four processes give the results of one; a killed worker takes nothing with it."""

import multiprocessing
import os
import pickle
import signal
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from mtsql_lib.executor import Executor, Limits, ResultCache

BASES = ("north", "south")
STATEMENTS = [
    *(f"SELECT name, weight FROM parcel WHERE id % 7 = {n} ORDER BY weight, id" for n in range(7)),
    *(f"SELECT count(*), sum(weight), max(name) FROM parcel WHERE weight > {n}" for n in range(0, 50, 10)),
    "SELECT name || '-' || weight FROM parcel ORDER BY id LIMIT 5",
    "SELECT weight, group_concat(name) FROM parcel GROUP BY weight ORDER BY weight",
    "SELECT a.id FROM parcel AS a JOIN parcel AS b ON a.weight = b.weight WHERE a.id < b.id",
    "SELECT name FROM parcel ORDER BY weight LIMIT 1",
    "SELECT nothing FROM parcel",
    "DELETE FROM parcel",
    "SELECT name FROM parcel WHERE id < 0",
]
SLOW = Limits(seconds=60)  # a busy machine must not turn an answer into a timeout
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@pytest.fixture
def databases(tmp_path):
    for number, base in enumerate(BASES):
        (tmp_path / base).mkdir()
        connection = sqlite3.connect(tmp_path / base / f"{base}.sqlite")
        connection.execute("CREATE TABLE parcel (id INTEGER PRIMARY KEY, name TEXT, weight INTEGER)")
        rows = [(f"p{n}", n * (7 + number) % 50) for n in range(300)]
        connection.executemany("INSERT INTO parcel (name, weight) VALUES (?, ?)", rows)
        connection.commit()
        connection.close()
    return tmp_path


def answers(executor: Executor, turn: int = 0) -> dict:
    """All statements on all databases, in an order that depends on `turn`, with their ties."""
    work = [(base, sql) for base in BASES for sql in STATEMENTS]
    outcomes = {key: executor.execute(*key) for key in work[turn:] + work[:turn]}
    return {key: (o.kind, o.columns, o.rows, o.message, o.tie) for key, o in outcomes.items()}


def differing(found: dict, expected: dict) -> dict:
    """The answers that are not as expected."""
    return {key: answer for key, answer in found.items() if answer != expected[key]}


def told(databases, pipe, cache=None) -> None:
    """A worker: sends the answers, then sends that it is about to be lost, and is."""
    with Executor(databases, limits=SLOW, cache=cache) as executor:
        pipe.send(pickle.dumps(answers(executor, os.getpid() % 7)))
        if pipe.recv() == "be lost":
            pipe.send("lost")
            executor.execute("north", ENDLESS)


@pytest.mark.parametrize("size", [0, 1000, 7])
def test_sixteen_threads(databases, size):
    with Executor(databases) as alone, Executor(databases, limits=SLOW, cache_size=size) as shared:
        expected = answers(alone)
        start = threading.Barrier(16)

        def work(turn: int) -> list[dict]:
            start.wait()
            return [answers(shared, turn + n) for n in range(3)]

        with ThreadPoolExecutor(16) as threads:
            for found in threads.map(work, range(16)):
                assert [differing(one, expected) for one in found] == [{}] * 3


def test_a_runaway_holds_up_no_other_thread(databases):
    with Executor(databases, limits=Limits(seconds=1.5)) as executor, ThreadPoolExecutor(4) as threads:
        runaways = [threads.submit(executor.execute, "north", ENDLESS) for _ in range(3)]
        expected = answers(executor)
        assert not any(runaway.done() for runaway in runaways)
        assert [runaway.result(20).kind for runaway in runaways] == ["timeout"] * 3
        assert answers(executor) == expected


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_four_processes_and_one_that_is_killed(databases, method):
    """The four share a cache file; the killed one is in the middle of a statement."""
    context = multiprocessing.get_context(method)
    file = databases / "results.db"
    with Executor(databases, limits=SLOW, cache=ResultCache(file=file)) as parent:
        expected = answers(parent)  # the children of a fork inherit open connections and must not use them
        ends, workers = [], []
        for _ in range(4):
            here, there = context.Pipe()
            cache = ResultCache(file=file)
            workers.append(context.Process(target=told, args=(databases, there, cache), daemon=True))
            workers[-1].start()
            ends.append(here)
        for end in ends:
            assert end.poll(60)
            assert pickle.loads(end.recv()) == expected
        ends[0].send("be lost")
        assert ends[0].poll(60) and ends[0].recv() == "lost"
        os.kill(workers[0].pid, signal.SIGKILL)
        for end in ends[1:]:
            end.send("go home")
        for worker in workers:
            worker.join(60)
        assert [worker.exitcode for worker in workers] == [-signal.SIGKILL, 0, 0, 0]
        assert answers(parent) == expected
    with Executor(databases, cache=ResultCache(file=file)) as later:
        assert answers(later) == expected


def test_a_fork_while_other_threads_execute(databases):
    """Locks held at the fork must not hang the child, nor may it use the parent's connections."""
    cache = ResultCache(50, file=databases / "results.db")
    with Executor(databases, limits=SLOW, cache=cache) as executor:
        expected = answers(executor)
        inherited = [box for base in executor._bases.values() for box in base.idle]

        def child(end) -> None:
            same = answers(executor) == expected
            same &= all(
                executor.execute(base, "SELECT random()").ok for base in BASES
            )  # never from the cache
            used = [box for base in executor._bases.values() for box in base.idle]
            end.send((same, len(used), any(box in inherited for box in used)))

        here, there = multiprocessing.get_context("fork").Pipe()
        with executor._lock, cache._lock, cache._file._lock:
            process = multiprocessing.get_context("fork").Process(target=child, args=(there,), daemon=True)
            process.start()
        assert here.poll(60), "the child hangs"
        assert here.recv() == (True, len(BASES), False)
        process.join(60)
        assert answers(executor) == expected


def test_a_cache_file_may_be_lost_or_damaged(databases):
    file = databases / "results.db"
    with Executor(databases) as alone:
        expected = answers(alone)
    for content in (b"junk" * 1000, b""):
        file.write_bytes(content)
        with Executor(databases, cache=ResultCache(file=file)) as executor:
            assert answers(executor) == expected
    with Executor(databases, cache=ResultCache(file=databases / "no" / "such" / "folder.db")) as executor:
        assert answers(executor) == expected
