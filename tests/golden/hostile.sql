-- What an attacker, or a model gone wrong, may send. A heading gives the kinds of outcome allowed below it.
-- writes: denied
INSERT INTO ship VALUES (9, 'Eva', 1)
INSERT INTO ship (id) SELECT id + 100 FROM ship
INSERT OR REPLACE INTO ship VALUES (1, 'Eva', 1)
INSERT OR IGNORE INTO ship DEFAULT VALUES
INSERT INTO ship VALUES (1, 'Eva', 1) ON CONFLICT DO UPDATE SET name = 'x'
INSERT INTO ship VALUES (10, 'a', 1) RETURNING id
REPLACE INTO ship VALUES (1, 'Eva', 1)
UPDATE ship SET name = 'x'
UPDATE ship SET name = 'x' WHERE id = 1 RETURNING *
UPDATE OR FAIL ship SET id = 1
DELETE FROM ship
DELETE FROM ship WHERE id = 1 RETURNING name
DELETE FROM sqlite_sequence
WITH x AS (SELECT 1) DELETE FROM ship
WITH x(a) AS (SELECT 1) INSERT INTO ship SELECT a, a, a FROM x
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 9) UPDATE ship SET id = 5
/* harmless */ DELETE FROM ship
DROP TABLE ship
DROP TABLE IF EXISTS ship
DROP VIEW crew_list
DROP INDEX ship_name
CREATE TABLE t (a)
CREATE TABLE IF NOT EXISTS t AS SELECT * FROM ship
CREATE TEMP TABLE t (a)
CREATE TEMPORARY TABLE t AS SELECT * FROM ship
CREATE VIEW v AS SELECT 1
CREATE TEMP VIEW v AS SELECT 1
CREATE INDEX i ON ship (name)
CREATE UNIQUE INDEX i ON ship (name)
CREATE TRIGGER g AFTER INSERT ON ship BEGIN DELETE FROM ship; END
CREATE TEMP TRIGGER g AFTER INSERT ON ship BEGIN SELECT 1; END
ALTER TABLE ship RENAME TO boat
ALTER TABLE ship ADD COLUMN b
ALTER TABLE ship RENAME COLUMN name TO b
ALTER TABLE ship DROP COLUMN name
EXPLAIN DELETE FROM ship
EXPLAIN QUERY PLAN DELETE FROM ship
EXPLAIN INSERT INTO ship VALUES (1, 'x', 1)
EXPLAIN DROP TABLE ship
REINDEX
REINDEX ship
ANALYZE
ANALYZE ship
VACUUM
VACUUM main
-- writes to the schema: denied error
UPDATE sqlite_master SET sql = 'x'
UPDATE sqlite_schema SET name = 'y' WHERE name = 'ship'
DELETE FROM sqlite_master
-- transactions: denied
BEGIN
BEGIN IMMEDIATE
BEGIN EXCLUSIVE TRANSACTION
COMMIT
END
ROLLBACK
SAVEPOINT s
RELEASE s
ROLLBACK TO s
-- other files: denied
ATTACH 'other.db' AS other
ATTACH DATABASE 'other.db' AS other
ATTACH ':memory:' AS other
ATTACH '' AS other
ATTACH 'file:other.db?mode=rwc' AS other
ATTACH '/etc/passwd' AS p
ATTACH DATABASE (SELECT 'other.db') AS other
ATTACH 'other.db' AS other KEY 'x'
EXPLAIN ATTACH 'other.db' AS other
DETACH main
DETACH DATABASE other
VACUUM INTO 'copy.db'
VACUUM main INTO 'copy.db'
VACUUM INTO '/tmp/copy.db'
VACUUM INTO 'file:copy.db?mode=rwc'
-- pragmas: denied
PRAGMA query_only = OFF
PRAGMA writable_schema = ON
PRAGMA journal_mode = WAL
PRAGMA journal_mode = DELETE
PRAGMA journal_mode
PRAGMA locking_mode = EXCLUSIVE
PRAGMA synchronous = OFF
PRAGMA user_version = 7
PRAGMA user_version
PRAGMA application_id = 7
PRAGMA schema_version = 7
PRAGMA page_size = 512
PRAGMA auto_vacuum = FULL
PRAGMA incremental_vacuum
PRAGMA wal_checkpoint(TRUNCATE)
PRAGMA optimize
PRAGMA integrity_check
PRAGMA quick_check
PRAGMA foreign_keys = ON
PRAGMA temp_store_directory = '/tmp'
PRAGMA temp_store = MEMORY
PRAGMA data_store_directory = '/tmp'
PRAGMA cache_size = -2000000
PRAGMA mmap_size = 1000000000
PRAGMA hard_heap_limit = 1
PRAGMA soft_heap_limit = 1
PRAGMA threads = 8
PRAGMA trusted_schema = ON
PRAGMA case_sensitive_like = ON
PRAGMA reverse_unordered_selects = ON
PRAGMA recursive_triggers = ON
PRAGMA encoding = 'UTF-16'
PRAGMA busy_timeout = 100000
PRAGMA analysis_limit = 1
PRAGMA shrink_memory
PRAGMA key = 'x'
PRAGMA table_info(ship)
PRAGMA main.table_xinfo(ship)
PRAGMA database_list
PRAGMA compile_options
PRAGMA function_list
PRAGMA module_list
PRAGMA nonsense
PRAGMA 'user_version'
PRAGMA"user_version"
EXPLAIN PRAGMA user_version
SELECT * FROM pragma_table_info('ship')
SELECT * FROM pragma_database_list
SELECT count(*) FROM pragma_database_list
SELECT file FROM pragma_database_list
SELECT * FROM pragma_compile_options
SELECT count(*) FROM pragma_function_list()
SELECT * FROM pragma_journal_mode('WAL')
SELECT * FROM "pragma_user_version"
SELECT * FROM main.pragma_table_list
SELECT name FROM ship, pragma_table_info(ship.name)
SELECT (SELECT count(*) FROM pragma_table_info('ship'))
-- functions that reach outside: denied error
SELECT load_extension('x')
SELECT load_extension('libc.so.6', 'main')
SELECT "load_extension"('x')
SELECT [load_extension]('x')
SELECT LOAD_EXTENSION('x')
SELECT load_extension ( 'x' ) FROM ship
SELECT name FROM ship WHERE load_extension('x')
SELECT name FROM ship ORDER BY load_extension('x')
SELECT coalesce(1, load_extension('x'))
SELECT CASE WHEN 0 THEN load_extension('x') END
SELECT fts3_tokenizer('simple')
SELECT fts3_tokenizer('simple', x'0000000000000000')
SELECT readfile('/etc/passwd')
SELECT writefile('x', 'y')
SELECT edit('x')
SELECT system('ls')
SELECT shell('ls')
SELECT sqlite_dbpage('x')
SELECT lsmode(1)
SELECT fts5('x')
SELECT rtreenode(2, x'00')
SELECT rtreecheck('ship')
SELECT rtreedepth(x'00')
SELECT matchinfo(ship) FROM ship
SELECT snippet(ship) FROM ship
SELECT optimize(ship) FROM ship
SELECT last_insert_rowid()
SELECT changes()
SELECT total_changes()
SELECT sqlite_compileoption_get(0)
SELECT sqlite_log(1, 'x')
SELECT subtype(1)
SELECT sqlite_offset(name) FROM ship
SELECT unknown_function(1)
SELECT name MATCH 'x' FROM ship
SELECT name REGEXP 'x' FROM ship
SELECT eval('DELETE FROM ship')
-- virtual tables: denied error
CREATE VIRTUAL TABLE f USING fts5(a)
CREATE VIRTUAL TABLE f USING fts4(a)
CREATE VIRTUAL TABLE r USING rtree(a, b, c)
CREATE VIRTUAL TABLE d USING dbstat
CREATE VIRTUAL TABLE c USING csv(filename='/etc/passwd')
CREATE VIRTUAL TABLE temp.f USING fts5(a)
SELECT * FROM dbstat
SELECT count(*) FROM dbstat
SELECT * FROM sqlite_stmt
SELECT count(*) FROM sqlite_stmt
SELECT sql FROM sqlite_stmt
SELECT * FROM bytecode('SELECT 1')
SELECT * FROM tables_used('SELECT 1')
SELECT * FROM generate_series(1, 9)
SELECT * FROM completion('SEL')
SELECT * FROM sqlite_dbpage
SELECT * FROM fsdir('/')
SELECT * FROM zipfile('x.zip')
SELECT * FROM csv('/etc/passwd')
SELECT * FROM fts3tokenize('x')
SELECT * FROM fts5vocab
SELECT * FROM sqlite_temp_master
SELECT * FROM temp.sqlite_schema
-- several statements: denied
SELECT 1; SELECT 2
SELECT 1; DROP TABLE ship
SELECT 1;;; DELETE FROM ship
SELECT 1 /* ; */ ; SELECT 2
SELECT 'a;b'; SELECT 2
BEGIN; DELETE FROM ship; COMMIT
SELECT 1; PRAGMA writable_schema = ON
-- broken text: error
SELECT 'unbalanced
SELECT "unbalanced
SELECT `unbalanced
SELECT [unbalanced
SELECT 'it's'
SELECT name FROM ship WHERE name = 'O'Brien'
SELECT "
SELECT '''
SELECT x'f'
SELECT x'zz'
SELECT ((((((1)
SELECT 1)
SELECT
SELECT FROM ship
SELECT * FROM
SELEC name FROM ship
FROM ship SELECT name
SELECT name FROM ship WHERE
SELECT name FROM nowhere
SELECT nothing FROM ship
SELECT name FROM ship GROUP BY
SELECT ?
SELECT ?1
SELECT :name
SELECT @name
SELECT $name
SELECT #1
SELECT name FROM ship LIMIT 'x'
SELECT 1 UNION SELECT 1, 2
SELECT count(*, 1) FROM ship
SELECT max() FROM ship
SELECT name FROM ship WHERE count(*) > 1
SELECT \
\x00
ﬁ SELECT 1
SELECT 1 AS
‘SELECT 1’
```sql SELECT 1 ```
I am sorry, I can't do that.
<tool_call>{"name": "exec_sql"}</tool_call>
{"sql": "SELECT 1"}
WITH RECURSIVE n AS (SELECT * FROM n) SELECT * FROM n
WITH a AS (SELECT * FROM b), b AS (SELECT * FROM a) SELECT * FROM a
-- odd but harmless: rows empty error too_large
SELECT 1 /* unclosed
WITH x AS (SELECT load_extension('x')) SELECT 1
SELECT 1; -- x \n; DELETE FROM ship
SELECT 1--
SELECT 1;
;SELECT 1;
/**/SELECT/**/1/**/
SELECT char(0)
SELECT 'a' || char(0) || 'b'
SELECT CAST(x'fffe' AS TEXT)
SELECT CAST(x'00ff41' AS TEXT), x'00ff'
SELECT char(55296), char(1114112)
SELECT '🚢', '‮', 'ﷺ'
SELECT 9223372036854775807 + 1
SELECT -9223372036854775808, 9e999, -9e999
SELECT 1 / 0, 1 % 0, 0.0 / 0
SELECT abs(-9223372036854775808)
SELECT sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1)
SELECT 0x7fffffffffffffff, 0xffffffffffffffff
SELECT 99999999999999999999999999
SELECT 1e400 - 1e400
SELECT name FROM ship LIMIT -1
SELECT name FROM ship LIMIT 9223372036854775807 OFFSET 9223372036854775807
SELECT name FROM ship LIMIT (SELECT count(*) FROM ship)
SELECT * FROM sqlite_master
SELECT sql FROM sqlite_schema
SELECT rowid, _rowid_, oid FROM ship
SELECT * FROM crew_list
SELECT name, row_number() OVER (PARTITION BY year ORDER BY name) FROM ship
SELECT lag(name, -1) OVER (), nth_value(name, 2) OVER (ORDER BY id) FROM ship
SELECT ntile(0) OVER () FROM ship
SELECT sum(id) OVER (ORDER BY id ROWS BETWEEN -1 PRECEDING AND 1 FOLLOWING) FROM ship
SELECT sum(id) OVER (ORDER BY id RANGE BETWEEN 'x' PRECEDING AND CURRENT ROW) FROM ship
SELECT group_concat(name, '') OVER (ORDER BY id GROUPS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM ship
SELECT first_value(name) OVER w FROM ship WINDOW w AS (ORDER BY w)
SELECT json('{"a": [1, {"b": null}]}')
SELECT json('{')
SELECT json(x'7b')
SELECT json_extract('{"a": 1}', '$.a', '$.b', '$[')
SELECT '{"a": 1}' -> '$.a', '{"a": 1}' ->> 'a'
SELECT json_patch('{"a": 1}', '{"a": null}')
SELECT json_set('[]', '$[999999999]', 1)
SELECT json_set('{}', '$.a.b.c.d', 1)
SELECT json_remove('[1, 2]', '$[#-1]', '$[#-999999999999]')
SELECT json_group_object(name, id) FROM ship
SELECT value FROM json_each('[1, 2, 3]')
SELECT fullkey FROM json_tree('{"a": [1, [2]]}')
SELECT key FROM json_each('{', '$.a')
SELECT printf('%s %n %p %z')
SELECT printf('%2147483647d', 1)
SELECT printf('%.2147483647f', 1.0)
SELECT printf('%-*.*s', 2147483647, -2147483648, 'x')
SELECT printf('%!.99999g', 1e308)
SELECT printf('%q %Q %w', NULL, NULL, NULL)
SELECT substr('abc', -9223372036854775808, 9223372036854775807)
SELECT substr(x'', 9223372036854775807)
SELECT round(1.5, 2147483647), round(1.5, -1)
SELECT replace('aaa', '', 'b'), replace('', '', '')
SELECT instr('', ''), instr(NULL, 'a'), instr(x'00', x'00')
SELECT trim('aaa', ''), trim('', 'aaa')
SELECT hex(zeroblob(0)), zeroblob(-1), zeroblob(9999999999)
SELECT randomblob(-5), randomblob(0), randomblob(9999999999)
SELECT unicode(''), char(), char(NULL)
SELECT quote(zeroblob(60000)), length(quote(hex(zeroblob(49000))))
SELECT likelihood(1, 2.0)
SELECT likelihood(1, 0.5), likely(1), unlikely(0)
SELECT 'a' LIKE 'A' ESCAPE 'xx'
SELECT 'a' LIKE '%' ESCAPE '%'
SELECT 'a' GLOB '[', 'a' GLOB '[^', 'a' GLOB '[a-', 'a' GLOB '[]a]'
SELECT date('now', '+999999999 years'), date(9e99), time(-9e99), julianday('9999-99-99')
SELECT strftime('%', 0), strftime(), strftime('%Y' || char(0), 0)
SELECT name COLLATE nonsense FROM ship
SELECT name FROM ship ORDER BY 99
SELECT name FROM ship ORDER BY 'x', NULL, 1.5
SELECT name FROM ship INDEXED BY nothing
SELECT DISTINCT name, * FROM ship, ship AS s, ship AS t
SELECT (SELECT (SELECT (SELECT name FROM ship)))
SELECT EXISTS (SELECT 1 FROM ship WHERE (id, name) IN (SELECT id, name FROM ship))
SELECT * FROM ship LEFT JOIN ship AS s ON (SELECT 1) NATURAL JOIN ship AS t
SELECT CASE WHEN name THEN id ELSE name END FROM ship GROUP BY 1 HAVING max(id)
SELECT iif(1, 2, 3), nullif(1, 1), coalesce(NULL, NULL), ifnull(NULL, 1)
SELECT typeof(x'00'), typeof(1.0), typeof(NULL)
SELECT soundex('Ada'), sqlite_version()
SELECT log(-1), sqrt(-1), pow(0, -1), exp(99999), mod(1, 0), acos(2)
EXPLAIN SELECT * FROM ship
EXPLAIN QUERY PLAN SELECT * FROM ship WHERE name = 'x'
VALUES (1), (2)
VALUES (1), (2, 3)
TABLE ship
SELECT 1 WHERE 0
SELECT NULL
SELECT name FROM main.ship
SELECT name FROM temp.ship
SELECT name FROM "ship" WHERE "no such column" = 'x'
