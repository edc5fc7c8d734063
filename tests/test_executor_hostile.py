"""Whatever text comes, the folder stays as it was, the process lives, and the next statement gets its answer.

Many more cases of the fuzz: CASES=100000 python -m pytest tests/test_executor_hostile.py -k fuzz
"""

import os
import resource
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtsql_lib.executor import Executor, Limits

GOLDEN = Path(__file__).parent / "golden"
KINDS = {"rows", "empty", "error", "timeout", "denied", "too_large"}
CASES = int(os.environ.get("CASES", 300))


def headed(path: Path) -> list[tuple[str, str]]:
    """Heading and statement for every statement; the first line says what the file is."""
    heading, found = "", []
    for line in path.read_text(encoding="utf-8").split("\n")[1:-1]:
        if line.startswith("-- "):
            heading = line[3:]
        else:
            found.append((heading, line))
    return found


def state(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with the hash of its bytes and the time of its last change."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, hash(path.read_bytes())) for path in files}


def make_fleet(folder: Path) -> None:
    """A small database with an index, a view, and text that is no UTF-8."""
    (folder / "fleet").mkdir(parents=True)
    connection = sqlite3.connect(folder / "fleet" / "fleet.sqlite")
    connection.executescript(
        """CREATE TABLE ship (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, year INTEGER);
        INSERT INTO ship (name, year) VALUES ('Ada', 1990), ('Bo', 1990), ('Cy', 2001);
        INSERT INTO ship (name) VALUES (CAST(x'ff41' AS TEXT));
        CREATE INDEX ship_name ON ship (name);
        CREATE VIEW crew_list AS SELECT name, count(*) AS n FROM ship GROUP BY name;"""
    )
    connection.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder to stand in, with the databases below it."""
    folder = tmp_path_factory.mktemp("hostile")
    make_fleet(folder / "databases")
    before = os.getcwd()
    os.chdir(folder)
    yield folder
    os.chdir(before)


@pytest.fixture(scope="module")
def executor(place):
    with Executor(place / "databases", limits=Limits(seconds=20, memory=16_000_000)) as made:
        yield made


def well(executor: Executor) -> bool:
    """An honest question still has its answer (and not from the cache)."""
    sql = "SELECT name FROM ship WHERE year = 1990 ORDER BY id"
    with Executor(executor.databases, cache_size=0) as fresh:
        rows = fresh.execute("fleet", sql).rows
    return rows == executor.execute("fleet", sql).rows == (("Ada",), ("Bo",))


HOSTILE = headed(GOLDEN / "hostile.sql")
RUNAWAYS = headed(GOLDEN / "runaways.sql")


def test_there_are_enough_of_them():
    assert len({sql for _, sql in HOSTILE}) >= 200
    assert len({sql for _, sql in RUNAWAYS}) >= 30


def test_hostile_statements_change_nothing(place, executor):
    before = state(place)
    for heading, sql in HOSTILE:
        topic, _, kinds = heading.partition(": ")
        for text in (sql, f" {sql} ; ", sql.swapcase() if "'" not in sql and '"' not in sql else sql):
            outcome = executor.execute("fleet", text)
            assert outcome.kind in kinds.split(), f"{topic}: {text!r} -> {outcome}"
            assert outcome.ok or outcome.message
    assert state(place) == before
    assert well(executor)


@pytest.mark.parametrize(
    "sql, kinds",
    [
        ("SELECT 1\0; DROP TABLE ship", {"error"}),
        ("\0", {"error"}),
        ("SELECT '\0'", {"error"}),
        ("SELECT '\ud800'", {"error"}),
        ("SELECT name FROM ship WHERE name = '\udcff'", {"error"}),
        (None, {"error"}),
        (b"SELECT 1", {"error"}),
        ("SELECT '" + "x" * 1_000_000 + "'", {"too_large"}),
        ("SELECT " + "1," * 500_000 + "1", {"too_large"}),
        ("x" * 1_000_000, {"too_large"}),
        ("(" * 1_000_000, {"too_large"}),
        ("SELECT " + "(" * 9000 + "1" + ")" * 9000, {"error"}),
        ("SELECT " + "+".join("1" * 5000), {"error"}),
        ("SELECT " + "NOT " * 4000 + "1", {"error"}),
        ("SELECT " + "-" * 1 + " -" * 5000 + "1", {"error"}),
        ("SELECT " + ", ".join(["*"] * 2000) + " FROM ship", {"error"}),
        ("SELECT 1" + " UNION ALL SELECT 1" * 900, {"error", "too_large"}),
        ("SELECT 1 FROM " + ", ".join(f"ship s{n}" for n in range(65)), {"error"}),
        ("SELECT " + "abs(" * 150 + "1" + ")" * 150, {"error"}),
        ("SELECT * FROM " + "(SELECT * FROM " * 400 + "ship" + ")" * 400, {"error", "too_large"}),
        ("SELECT 1 WHERE 1 IN (" + ", ".join(map(str, range(3000))) + ")", {"rows"}),
        ("WITH " + ", ".join(f"c{n} AS (SELECT 1)" for n in range(800)) + " SELECT 1", {"rows", "too_large"}),
        (" " * 15_000 + "SELECT 1", {"rows"}),
        ("SELECT 1" + ";" * 15_000, {"rows"}),
        ("/*" * 9000, {"error"}),
        ("'" * 9999, {"error"}),
        ("SELECT name FROM ship WHERE name LIKE '" + "%a" * 5000 + "'", {"error"}),
    ],
)
def test_texts_that_no_file_can_hold(place, executor, sql, kinds):
    before = state(place)
    outcome = executor.execute("fleet", sql)
    assert outcome.kind in kinds, outcome
    assert state(place) == before
    assert well(executor)


@pytest.mark.parametrize("name, sql", RUNAWAYS, ids=[name for name, _ in RUNAWAYS])
def test_runaways_end_at_the_deadline_and_keep_the_memory_bounded(place, name, sql):
    with Executor(place / "databases", limits=Limits(seconds=0.05), cache_size=0) as executor:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        outcome = executor.execute("fleet", sql)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert outcome.kind != "denied"
    assert outcome.seconds < 1.5  # the benchmark measures the overshoot; here a slow machine must not fail
    assert grown < 150, f"{grown:.0f} MB"


NAMES = "|.|..|../fleet|fleet/..|/etc|a\0b|fleet?mode=rwc|%66leet|fleet/x|fleet2".split("|")


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_no_databases(place, executor, name):
    before = state(place)
    assert executor.execute(name, "SELECT 1").kind == "missing_database"
    assert state(place) == before


def test_a_file_that_is_no_database_is_an_error(place, executor):
    (place / "databases" / "junk").mkdir()
    for content in (b"", b"junk" * 1000, b"SQLite format 3\0" + b"\xff" * 4000):
        (place / "databases" / "junk" / "junk.sqlite").write_bytes(content)
        before = state(place)
        with Executor(place / "databases") as fresh:
            outcome = fresh.execute("junk", "SELECT * FROM ship")
        assert outcome.kind == "error" and outcome.message
        assert state(place) == before


def test_a_damaged_database_does_not_raise(place):
    (place / "databases" / "torn").mkdir()
    whole = (place / "databases" / "fleet" / "fleet.sqlite").read_bytes()
    for cut in range(100, len(whole), 1777):
        torn = whole[:cut] + bytes(byte ^ 0x5A for byte in whole[cut : cut + 400]) + whole[cut + 400 :]
        (place / "databases" / "torn" / "torn.sqlite").write_bytes(torn)
        with Executor(place / "databases") as fresh:
            for sql in ("SELECT * FROM ship", "SELECT * FROM crew_list", "SELECT id FROM ship ORDER BY name"):
                assert fresh.execute("torn", sql).kind in KINDS


WORDS = st.sampled_from(
    """SELECT FROM WHERE GROUP BY ORDER LIMIT OFFSET HAVING UNION ALL INTERSECT EXCEPT JOIN LEFT ON AS WITH
    RECURSIVE DISTINCT CASE WHEN THEN ELSE END EXISTS IN IS NOT NULL LIKE GLOB BETWEEN CAST VALUES OVER
    PARTITION INSERT INTO UPDATE SET DELETE DROP TABLE CREATE VIEW ATTACH DETACH PRAGMA VACUUM REINDEX ANALYZE
    BEGIN COMMIT EXPLAIN ship crew_list name id year sqlite_master count(*) max( min( sum( replace( printf(
    hex( json( load_extension( randomblob( group_concat( zeroblob( trim( instr( json_each( pragma_table_info(
    ( ) , ; . * + - / % || = < > != ' " ` [ ] -- /* */ 0 1 2 99999999 1e999 x'ff' 'Ada' "name" '%a%' NULL ? :a
    asc desc""".split()
)
SENTENCES = st.lists(WORDS, max_size=25).map(" ".join)
MIXTURES = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=15).map("".join)
TEXTS = st.one_of(SENTENCES, st.text(max_size=60), MIXTURES)
HONEST = st.builds(
    "SELECT {} FROM {} WHERE {} {} {} ORDER BY {} LIMIT {}".format,
    st.sampled_from(["*", "name", "DISTINCT year", "count(*)", "name || id", "max(year), name", "hex(id)"]),
    st.sampled_from(["ship", "crew_list", "ship AS s JOIN ship AS t", "(SELECT * FROM ship)"]),
    st.sampled_from(["name", "id", "year", "rowid", "1", "lower(name)"]),
    st.sampled_from(["=", "<", "LIKE", "IN", "IS NOT", "||", ">="]),
    st.one_of(WORDS, st.text(max_size=5).map("'{}'".format), st.integers().map(str)),
    st.sampled_from(["name", "1", "count(*)", "year DESC, id", "random()", "name COLLATE NOCASE"]),
    st.one_of(st.integers(-3, 9).map(str), WORDS),
)


@given(st.one_of(TEXTS, HONEST))
@settings(max_examples=CASES, deadline=None, suppress_health_check=list(HealthCheck))
def test_fuzz(place, executor, sql):
    outcome = executor.execute("fleet", sql)
    assert outcome.kind in KINDS
    assert outcome.tie in (True, False)
    assert all(len(row) == len(outcome.columns) for row in outcome.rows)


def test_fuzz_left_no_trace(place, executor):
    """Runs after the fuzz (tests run in the order of the file)."""
    assert sorted(path.name for path in place.iterdir()) == ["databases"]
    assert sorted(path.name for path in (place / "databases" / "fleet").iterdir()) == ["fleet.sqlite"]
    connection = sqlite3.connect(place / "databases" / "fleet" / "fleet.sqlite")
    assert connection.execute("SELECT count(*) FROM ship").fetchone() == (4,)
    connection.close()
    assert well(executor)
