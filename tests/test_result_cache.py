"""The cache is bounded, keeps what is used, and a file of it is never more than a help."""

import pickle
import sqlite3

import pytest

from mtsql_lib import result_cache
from mtsql_lib.outcome import Outcome
from mtsql_lib.result_cache import ResultCache


def key(number: int) -> tuple[str, str]:
    return "base", f"SELECT {number}"


def test_the_last_ones_are_kept_and_the_number_is_bounded():
    cache = ResultCache(100)
    for number in range(1000):
        cache.put(Outcome("rows", ("a",), ((number,),)), key(number))
        assert len(cache) <= 200
    assert [cache.get(key(number)).rows[0][0] for number in range(900, 1000)] == list(range(900, 1000))
    assert cache.get(key(0)) is None


def test_what_is_asked_for_stays():
    cache = ResultCache(10)
    kept = Outcome("empty")
    cache.put(kept, key(0))
    for number in range(1, 500):
        cache.put(Outcome("empty"), key(number))
        assert cache.get(key(0)) is kept


def test_the_cells_are_bounded(monkeypatch):
    monkeypatch.setattr(result_cache, "_CELLS", 1000)
    cache = ResultCache(100)
    cache.put(Outcome("rows", ("a",), ((1,),) * 2000), key(0))
    assert cache.get(key(0)) is None
    for number in range(1, 50):
        cache.put(Outcome("rows", ("a",), ((1,),) * 400), key(number))
    assert len(cache) <= 4


def test_one_outcome_under_two_spellings():
    cache = ResultCache()
    outcome = Outcome("empty")
    cache.put(outcome, key(1), key(2))
    assert cache.get(key(1)) is cache.get(key(2)) is outcome


def test_size_zero_keeps_nothing():
    cache = ResultCache(0)
    cache.put(Outcome("empty"), key(1))
    assert cache.get(key(1)) is None and len(cache) == 0


@pytest.fixture
def file(tmp_path):
    return tmp_path / "results.db"


SLOW = Outcome(
    "rows", ("a", "b"), ((1, b"\x00\xff"), (2.5, None), (-(2**63), "é"), (float("inf"), "")), "", 0.5
)


def test_slow_results_come_back_from_the_file(file):
    ResultCache(file=file).save(key(1), SLOW)
    kind, columns, rows, message, seconds = ResultCache(file=file).load(key(1))
    assert Outcome(kind, columns, rows, message) == SLOW and seconds == 0.5
    assert [type(cell) for row in rows for cell in row] == [type(cell) for row in SLOW.rows for cell in row]


def test_quick_results_are_not_written(file):
    cache = ResultCache(file=file)
    cache.save(key(1), Outcome("empty", seconds=0.0001))
    assert cache.load(key(1)) is None


def test_the_file_is_bounded(file):
    cache = ResultCache(20, file=file)
    for number in range(100):
        cache.save(key(number), SLOW)
    connection = sqlite3.connect(file)
    assert connection.execute("SELECT count(*) FROM result").fetchone()[0] <= 20
    connection.close()
    assert cache.load(key(99)) and not cache.load(key(0))


def test_a_strange_entry_is_a_miss(file):
    cache = ResultCache(file=file)
    cache.save(key(1), SLOW)
    connection = sqlite3.connect(file)
    for told in ("{", "[]", "[1, 2, 3, 4, 5]", '["rows", [], [[{"x": 1}]], "", 1]', None):
        connection.execute("UPDATE result SET told = ?", (told,))
        connection.commit()
        assert cache.load(key(1)) is None
    connection.close()


def test_it_pickles_empty(file):
    cache = ResultCache(7, file=file)
    cache.put(SLOW, key(1))
    cache.save(key(1), SLOW)
    again = pickle.loads(pickle.dumps(cache))
    assert (again.size, len(again)) == (7, 0) and again.load(key(1))
