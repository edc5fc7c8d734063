"""The executor's outcomes one kind at a time, its limits, its cache, and what it leaves behind: nothing."""

import pickle
import sqlite3
import threading
import time
import weakref

import pytest

from mtsql_lib import sandbox
from mtsql_lib.errors import KitError
from mtsql_lib.executor import Executor, Limits, Outcome, ResultCache

FAR = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "


def make(folder, name, script):
    """A database `<folder>/<name>/<name>.sqlite`."""
    (folder / name).mkdir(exist_ok=True)
    connection = sqlite3.connect(folder / name / f"{name}.sqlite")
    connection.executescript(script)
    connection.close()


@pytest.fixture
def databases(tmp_path):
    make(
        tmp_path,
        "fleet",
        """CREATE TABLE ship (id INTEGER PRIMARY KEY, name TEXT, year INTEGER, weight REAL, mark BLOB);
        INSERT INTO ship VALUES (1, 'Ada', 1990, 1.5, x'00ff'), (2, 'Bo', 1990, NULL, NULL);
        INSERT INTO ship VALUES (3, 'Cy', 2001, 2, '');
        CREATE TABLE letter (text TEXT);
        INSERT INTO letter VALUES (CAST(x'c3a9ff41' AS TEXT)), ('plain');
        CREATE TABLE book (text TEXT);
        INSERT INTO book VALUES (replace(hex(zeroblob(10000)), '00', 'ab'));
        INSERT INTO book VALUES (replace(hex(zeroblob(25000)), '00', 'ab'));
        CREATE VIEW old AS SELECT name FROM ship WHERE year < 2000;""",
    )
    return tmp_path


@pytest.fixture
def executor(databases):
    with Executor(databases) as made:
        yield made


@pytest.mark.parametrize(
    "sql, kind, message",
    [
        ("SELECT name FROM ship", "rows", ""),
        ("SELECT name FROM ship WHERE id = 9", "empty", ""),
        ("SELECT nme FROM ship", "error", "no such column: nme"),
        ("SELECT name FRM ship", "error", "syntax error"),
        ("", "error", "no statement"),
        ("-- SELECT 1", "error", "no statement"),
        ("DROP TABLE ship", "denied", "only a SELECT"),
        ("SELECT load_extension('x')", "denied", "function load_extension"),
        ("SELECT * FROM sqlite_temp_master", "denied", "table sqlite_temp_master"),
        ("SELECT 1; SELECT 2", "denied", "one statement"),
        (FAR + "SELECT max(i) FROM n", "timeout", "stopped after 0.2 s"),
        ("SELECT length(randomblob(100000001))", "too_large", "too big"),
        ("SELECT '" + "x" * 30_000 + "'", "too_large", "longer than 20000 characters"),
    ],
)
def test_kinds(databases, sql, kind, message):
    with Executor(databases, limits=Limits(seconds=0.2)) as executor:
        outcome = executor.execute("fleet", sql)
    assert (outcome.kind, outcome.ok) == (kind, kind in ("rows", "empty"))
    assert message in outcome.message
    assert (message == "") == outcome.ok


def test_values_come_as_sqlite_has_them(executor):
    outcome = executor.execute("fleet", "SELECT id, name, weight AS w, mark FROM ship")
    assert outcome.columns == ("id", "name", "w", "mark")
    assert outcome.rows == ((1, "Ada", 1.5, b"\x00\xff"), (2, "Bo", None, None), (3, "Cy", 2.0, ""))


def test_bytes_that_are_no_utf8_are_ignored(executor):
    for sql in ("SELECT text FROM letter", "SELECT text || '' FROM letter"):
        assert executor.execute("fleet", sql).rows == (("éA",), ("plain",))
    assert executor.execute("fleet", "SELECT mark FROM ship WHERE id = 1").rows == ((b"\x00\xff",),)
    (box,) = executor._bases["fleet"].idle
    assert box._plain._connection.text_factory is str  # the slow way is for that one statement


def test_a_missing_database_is_named_and_not_created(executor):
    outcome = executor.execute("none", "SELECT 1")
    assert outcome.kind == "missing_database" and "'none'" in outcome.message
    assert not (executor.databases / "none").exists()
    make(executor.databases, "none", "CREATE TABLE t (a)")
    assert executor.execute("none", "SELECT 1").kind == "rows"


def test_a_missing_folder_is_said_at_once(tmp_path):
    with pytest.raises(KitError, match="no folder of databases"):
        Executor(tmp_path / "none")


def test_a_database_with_unfinished_changes_is_refused(databases):
    connection = sqlite3.connect(databases / "fleet" / "fleet.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("INSERT INTO ship (id) VALUES (4)")
    connection.commit()
    with Executor(databases) as executor:
        assert "fleet.sqlite-wal" in executor.execute("fleet", "SELECT 1").message
        connection.close()
        assert executor.execute("fleet", "SELECT count(*) FROM ship").rows == ((4,),)


def test_no_file_appears_beside_a_database_in_use(databases):
    """Without `immutable` SQLite makes two files to read one that was last written in WAL mode."""
    connection = sqlite3.connect(databases / "fleet" / "fleet.sqlite")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    with Executor(databases) as executor:
        assert executor.execute("fleet", "SELECT count(*) FROM ship").rows == ((3,),)
        assert [path.name for path in (databases / "fleet").iterdir()] == ["fleet.sqlite"]


def test_every_file_of_a_folder_has_an_id(databases):
    (databases / "fleet" / "fleet_2.sqlite").write_bytes((databases / "fleet" / "fleet.sqlite").read_bytes())
    (databases / "fleet" / "notes.txt").write_text("no database")
    with Executor(databases) as executor:
        assert executor.files("fleet") == ["fleet/fleet.sqlite", "fleet/fleet_2.sqlite"]
        assert all(executor.execute(file, "SELECT 1").ok for file in executor.files("fleet"))
        assert executor.files("none") == executor.files("..") == []


@pytest.mark.parametrize(
    "limits, sql, message",
    [
        (Limits(rows=2), "SELECT name FROM ship", "more than 2 rows"),
        (Limits(memory=1000), FAR + "SELECT i FROM n LIMIT 900", "more than 1000 bytes"),
        (Limits(memory=100_000), "SELECT text, text FROM book", "more than 100000 bytes"),
        (Limits(cell=5000), "SELECT text FROM book", "too big"),
        (Limits(cell=5000), "SELECT length(hex(zeroblob(4000)))", "too big"),
        (Limits(sql=20), "SELECT name FROM ship LIMIT 1", "longer than 20 characters"),
    ],
)
def test_limits(databases, limits, sql, message):
    with Executor(databases, limits=limits) as executor:
        outcome = executor.execute("fleet", sql)
    assert outcome.kind == "too_large" and message in outcome.message
    assert outcome.rows == ()


def test_rows_up_to_the_limit_are_all_there(databases):
    sql = FAR + "SELECT i, 'x' || i FROM n LIMIT 5000"
    with Executor(databases, limits=Limits(rows=5000)) as executor:
        for statement in (sql, sql.replace("'x' || i", "-i")):
            rows = executor.execute("fleet", statement).rows
            assert [row[0] for row in rows] == list(range(1, 5001))


def test_long_cells_are_read_although_a_plain_connection_may_not(executor):
    outcome = executor.execute("fleet", "SELECT text FROM book WHERE text LIKE 'ab%' ORDER BY length(text)")
    assert [len(text) for (text,) in outcome.rows] == [20_000, 50_000]
    assert sandbox._PLAIN_CELL < 20_000


def test_the_more_costly_calls_the_shorter_the_text(executor):
    one = "SELECT max(length(hex(zeroblob(49000))))"
    many = "SELECT " + " + ".join(["length(hex(zeroblob(49000)))"] * 150)
    assert executor.execute("fleet", one).rows == ((98_000,),)
    assert executor.execute("fleet", many).kind == "too_large"


def test_a_statement_that_compiles_to_too_long_a_program(executor, monkeypatch):
    steps = ", ".join(f"c{n} AS (SELECT x + x AS x FROM c{n - 1})" for n in range(1, 14))
    sql = f"WITH c0 AS (SELECT id AS x FROM ship), {steps} SELECT x + x + x FROM c13"
    assert "name each other so often" in executor.execute("fleet", sql).message
    monkeypatch.setattr(sandbox, "_NAMES", 10**9)
    outcome = executor.execute("fleet", sql + " LIMIT 9")
    assert outcome.kind == "too_large" and "too long a program" in outcome.message


def test_an_expression_that_is_too_deep(executor):
    outcome = executor.execute("fleet", "SELECT " + " + ".join(["id"] * 600) + " FROM ship")
    assert outcome.kind == "error" and "maximum depth 500" in outcome.message


def test_functions_that_build_text_give_what_sqlite_gives(executor):
    with sqlite3.connect(executor.databases / "fleet" / "fleet.sqlite") as plain:
        for sql in (
            "SELECT group_concat(name, ', ') FROM ship",
            "SELECT replace(name, 'a', 'b') || '-' || year, printf('%05d', id), trim(name, 'A') FROM ship",
            "SELECT json_group_array(name), json_object('a', max(year)) FROM ship",
            "SELECT value FROM json_each('[1, 2, 3]') WHERE value > 1",
            "WITH a AS (SELECT * FROM ship), b AS (SELECT name FROM a) SELECT * FROM b AS c, b",
        ):
            assert executor.execute("fleet", sql).rows == tuple(plain.execute(sql).fetchall())
    plain.close()


def test_nothing_is_left_between_calls(executor):
    for sql in (
        "PRAGMA case_sensitive_like = ON",
        "CREATE TEMP TABLE t (a)",
        "BEGIN",
        "ATTACH ':memory:' AS x",
    ):
        assert executor.execute("fleet", sql).kind == "denied"
    assert executor.execute("fleet", "SELECT 'A' LIKE 'a'").rows == ((1,),)
    assert executor.execute("fleet", "SELECT * FROM temp.t").kind == "error"


def test_a_known_result_is_the_same_object_whatever_the_spaces(executor):
    first = executor.execute("fleet", "SELECT name  FROM ship")
    assert executor.execute("fleet", " SELECT  name\n\tFROM ship ;") is first
    assert executor.execute("fleet", "SELECT name FROM ship") is first
    assert executor.execute("fleet", "SELECT Name FROM ship") is not first


def test_the_column_names_do_not_depend_on_who_asked_first(executor):
    """SQLite names an expression by its text; what is executed is the text with single spaces."""
    assert executor.execute("fleet", "SELECT count ( *  ) FROM ship").columns == ("count ( * )",)


def test_without_a_cache_every_call_executes(databases):
    with Executor(databases, cache_size=0) as executor:
        first, second = (executor.execute("fleet", "SELECT name FROM ship") for _ in range(2))
        assert first == second and first is not second and len(executor.cache) == 0


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT random()",
        "SELECT date('now')",
        "SELECT time ( )",
        "SELECT CURRENT_TIMESTAMP",
        "SELECT strftime('%f')",
    ],
)
def test_what_changes_by_itself_is_not_kept(executor, sql):
    assert executor.execute("fleet", sql) is not executor.execute("fleet", sql)


def test_what_only_looks_like_it_is_kept(executor):
    for sql in ("SELECT 'unknown'", "SELECT strftime('%Y', '2001-01-01')", "SELECT date(year) FROM ship"):
        assert executor.execute("fleet", sql) is executor.execute("fleet", sql)


def test_a_timeout_is_not_kept(databases):
    with Executor(databases, limits=Limits(seconds=0.05)) as executor:
        assert executor.execute("fleet", FAR + "SELECT max(i) FROM n").kind == "timeout"
        assert len(executor.cache) == 0


def test_a_cache_serves_equal_files_under_equal_limits(databases):
    (databases / "copy").mkdir()
    (databases / "copy" / "copy.sqlite").write_bytes((databases / "fleet" / "fleet.sqlite").read_bytes())
    make(databases, "other", "CREATE TABLE ship (name); INSERT INTO ship VALUES ('Eva')")
    cache = ResultCache()
    sql = "SELECT name FROM ship"
    with (
        Executor(databases, cache=cache) as one,
        Executor(databases, cache=cache, limits=Limits(rows=2)) as two,
    ):
        assert one.execute("fleet", sql) is one.execute("copy", sql)
        assert one.execute("other", sql).rows == (("Eva",),)
        assert two.execute("fleet", sql).kind == "too_large"


def test_a_closed_executor_says_so_but_its_outcomes_live(databases):
    executor = Executor(databases)
    outcome = executor.execute("fleet", "SELECT name FROM ship ORDER BY year LIMIT 1")
    executor.close()
    with pytest.raises(KitError, match="closed"):
        executor.execute("fleet", "SELECT 1")
    assert outcome.tie
    assert all(not base.idle for base in executor._bases.values())


def test_idle_connections_are_bounded(databases, monkeypatch):
    monkeypatch.setattr("mtsql_lib.executor._SANDBOXES", 3)
    for number in range(8):
        make(databases, f"d{number}", "CREATE TABLE t (a)")
    with Executor(databases, cache_size=0) as executor:
        for number in range(8):
            assert executor.execute(f"d{number}", "SELECT count(*) FROM t").ok
        assert sum(len(base.idle) for base in executor._bases.values()) <= 3


def test_it_pickles_as_its_arguments(databases):
    with Executor(databases, limits=Limits(rows=2), cache_size=5) as executor:
        executor.execute("fleet", "SELECT 1")
        again = pickle.loads(pickle.dumps(executor))
    with again:
        assert (again.databases, again.limits, again.cache.size) == (databases, Limits(rows=2), 5)
        assert again.execute("fleet", "SELECT 1").rows == ((1,),)


def test_an_interrupt_from_the_keyboard_is_no_timeout(databases):
    box = sandbox.Sandbox(databases / "fleet" / "fleet.sqlite", Limits(seconds=30))
    threading.Timer(0.2, box._plain._connection.interrupt).start()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        box.run("SELECT count(*) FROM " + ", ".join(f"ship AS s{number}" for number in range(40)))
    assert time.monotonic() - started < 20
    assert box.run("SELECT 1")[0] == "rows"
    box.close()


def test_outcomes_behave_as_records():
    asked = []
    outcome = Outcome("rows", ("a", "b"), ((1, "<"),), tie=lambda: asked.append(1) or True)
    assert repr(outcome) == "<1 row of (a, b): (1, '<')>" and "&lt;" in outcome._repr_html_()
    assert not asked
    assert outcome.tie and outcome.tie and asked == [1]
    assert outcome == outcome.replaced(seconds=9.0) != outcome.replaced(kind="empty")
    assert outcome.replaced(kind="empty").tie and not outcome.replaced(tie=False).tie
    assert pickle.loads(pickle.dumps(outcome)) == outcome and hash(outcome) == hash(outcome.replaced())
    assert repr(Outcome("denied", message="no")) == "<denied: no>" and not Outcome("empty").tie
    for name in ("tie", "kind"):
        with pytest.raises(AttributeError, match="cannot be changed"):
            setattr(outcome, name, False)
        with pytest.raises(AttributeError):
            delattr(outcome, name)
    assert weakref.ref(outcome)() is outcome
