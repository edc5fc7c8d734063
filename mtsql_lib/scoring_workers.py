"""Several processes for one list of jobs: what makes scoring a file use all cores without the start-up of a
process pool.

Children are forked and take job numbers from a shared pipe, so a slow job holds up nobody. A job without a
result, because its worker died or could not be forked, is done by the parent. Results are plain values
(`marshal`). Not for programs with threads of their own, and serial on Windows.
"""

from __future__ import annotations

import marshal
import os
import threading
from collections.abc import Callable

from mtsql_lib.errors import KitError

_NUMBER = 4  # bytes of a job number in the pipe; writes this short are never torn


def run_jobs(jobs: int, work: Callable[[int], object], workers: int | None = None) -> list:
    """`[work(0), ..., work(jobs - 1)]`, in `workers` processes (None: one for each core).

    `work` returns what `marshal` can write. The first KitError of a worker is raised here as a KitError.
    """
    workers = min(_cores() if workers is None else workers, jobs)
    done: dict[int, object] = {}
    if workers > 1 and hasattr(os, "fork") and threading.active_count() == 1 and jobs * _NUMBER <= 4096:
        done = _forked(jobs, work, workers)
    return [done[number] if number in done else work(number) for number in range(jobs)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _forked(jobs: int, work: Callable[[int], object], workers: int) -> dict[int, object]:
    queue, feed = os.pipe()
    os.write(feed, b"".join(number.to_bytes(_NUMBER, "big") for number in range(jobs)))
    os.close(feed)
    children = [child for child in (_fork(queue, work) for _ in range(workers - 1)) if child]
    done: dict[int, object] = {}
    try:
        done.update(_take(queue, work))
    finally:
        os.close(queue)
        told = [_collect(child) for child in children]
    for problem, results in told:
        if problem:
            raise KitError(problem)
        done.update(results)
    return done


def _take(queue: int, work: Callable[[int], object]) -> dict[int, object]:
    done = {}
    while number := os.read(queue, _NUMBER):
        job = int.from_bytes(number, "big")
        done[job] = work(job)
    return done


def _fork(queue: int, work: Callable[[int], object]) -> tuple[int, int] | None:
    """(process, pipe to read its results from); None where the system has no room for one more process."""
    results, out = os.pipe()
    try:
        process = os.fork()
    except OSError:
        os.close(results)
        os.close(out)
        return None
    if process:
        os.close(out)
        return process, results
    try:
        try:
            told = "", _take(queue, work)
        except KitError as problem:
            told = str(problem), {}
        text = marshal.dumps(told)
        with os.fdopen(out, "wb") as file:
            file.write(text)
    finally:
        os._exit(0)  # whatever happened, the child must not run the parent's program


def _collect(child: tuple[int, int]) -> tuple[str, dict[int, object]]:
    process, results = child
    with os.fdopen(results, "rb") as file:
        text = file.read()
    try:
        return marshal.loads(text)
    except (EOFError, ValueError, TypeError):
        return "", {}
    finally:
        os.waitpid(process, 0)
