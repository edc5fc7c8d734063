-- Statements that would run for minutes or for ever, or fill the memory. One to a line; a comment names each kind.
-- cross join of seven
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT count(*) FROM t a, t b, t c, t d, t e, t f, t g
-- cross join that returns rows
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT a.x FROM t a, t b, t c WHERE a.x + b.x + c.x < 0
-- cross join with every result kept
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT a.x, b.x, c.x FROM t a, t b, t c
-- endless counter
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n
-- endless counter without an aggregate
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 0
-- endless counter that returns rows
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n
-- recursion with a set
WITH RECURSIVE n(i) AS (SELECT 1 UNION SELECT i + 1 FROM n) SELECT count(*) FROM n
-- recursion that doubles its queue
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n UNION ALL SELECT i + 2 FROM n) SELECT count(*) FROM n
-- recursion in the order of a queue
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n UNION ALL SELECT -i FROM n ORDER BY 1) SELECT count(*) FROM n
-- sort of an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n ORDER BY i * 7919 % 1000003
-- sort of a million rows
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 1000000) SELECT a.i FROM n a, n b ORDER BY a.i * 7919 % 1000003
-- sort by chance
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT a.x FROM t a, t b, t c ORDER BY random()
-- distinct rows of an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT DISTINCT i FROM n LIMIT 1 OFFSET 1000000000
-- groups of an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i, count(*) FROM n GROUP BY i
-- distinct count
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(DISTINCT i) FROM n
-- offset without end
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n LIMIT 1 OFFSET 9000000000000
-- window over an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(i) OVER (ORDER BY i) FROM n
-- window with a wide frame
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 100000) SELECT max(x) OVER (ORDER BY x ROWS BETWEEN 50000 PRECEDING AND 50000 FOLLOWING) FROM t
-- window of text
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 100000) SELECT length(group_concat(x) OVER (ORDER BY x ROWS 9999 PRECEDING)) FROM t
-- correlated subqueries
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 20000) SELECT count(*) FROM t a WHERE (SELECT count(*) FROM t b WHERE b.x % a.x = 0) < 0
-- exists without a match
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 100000) SELECT count(*) FROM t a WHERE NOT EXISTS (SELECT 1 FROM t b WHERE b.x = a.x + 0.5)
-- union of cross joins
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT a.x * b.x * c.x FROM t a, t b, t c UNION SELECT a.x + b.x FROM t a, t b
-- except of cross joins
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 1000) SELECT a.x * b.x * c.x FROM t a, t b, t c EXCEPT SELECT a.x + b.x FROM t a, t b
-- random blobs, many
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(length(randomblob(90000))) FROM n
-- random blob, one
SELECT length(randomblob(900000000))
-- random blobs in one row
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(randomblob(90000)) + length(randomblob(90000)) + length(randomblob(90000)) + length(randomblob(90000)) + length(randomblob(90000)) + length(randomblob(90000))) FROM n
-- zero blobs
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(length(hex(zeroblob(40000)))) FROM n
-- hex of hex
WITH RECURSIVE n(i, h) AS (SELECT 1, 'a' UNION ALL SELECT i + 1, hex(h) FROM n) SELECT max(length(h)) FROM n
-- text that doubles
WITH RECURSIVE n(h) AS (SELECT 'a' UNION ALL SELECT h || h FROM n) SELECT max(length(h)) FROM n
-- text that is joined again and again
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(printf('%.*c', 40000, 'x') || printf('%.*c', 40000, 'y'))) FROM n
-- printf with a width
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(printf('%*d', 90000, i))) FROM n
-- printf with a huge width
SELECT length(printf('%*d', 999999999, 1))
-- printf with a precision
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(printf('%.90000f', i / 7.0))) FROM n
-- group_concat of an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT group_concat(i) FROM n
-- group_concat of many groups
WITH t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t WHERE x < 10000) SELECT max(length(c)) FROM (SELECT group_concat(b.x) AS c FROM t a, t b GROUP BY a.x)
-- LIKE on long text
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE printf('%.*c', 90000, 'a') || i LIKE '%aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab'
-- LIKE with many wildcards
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE printf('%.*c', 90000, 'a') || i LIKE '%a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%_a%b'
-- GLOB with classes
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE printf('%.*c', 90000, 'a') || i GLOB '*[^b][^b][^b][^b][^b][^b][^b][^b][^b][^b][^b][^b][^b][^b]b'
-- LIKE with a long pattern
SELECT printf('%.*c', 90000, 'a') LIKE printf('%.*c', 90000, '%a')
-- replace that finds nothing
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(replace(printf('%.*c', 90000, 'a') || i, printf('%.*c', 40000, 'a') || 'b', ''))) FROM n
-- replace that grows
WITH RECURSIVE n(h) AS (SELECT 'aa' UNION ALL SELECT replace(h, 'a', 'aaa') FROM n) SELECT max(length(h)) FROM n
-- instr that finds nothing
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(instr(printf('%.*c', 90000, 'a') || i, printf('%.*c', 40000, 'a') || 'b')) FROM n
-- trim of many characters
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(length(trim(printf('%.*c', 90000, 'a') || i, printf('%.*c', 80000, 'b') || 'a'))) FROM n
-- json that grows
WITH RECURSIVE n(j) AS (SELECT '[1]' UNION ALL SELECT json_array(json(j), json(j)) FROM n) SELECT max(length(j)) FROM n
-- json of an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT json_group_array(i) FROM n
-- json objects merged
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n), k(j) AS (SELECT json_group_object('k' || x, x) FROM (SELECT i AS x FROM n LIMIT 5000)) SELECT max(length(json_patch(j, j))) FROM k, n
-- json walked
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n, json_each('[1,2,3,4,5,6,7,8]'), json_tree('[[[[1]]]]')
-- numbers read from long text
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT sum(CAST(printf('%.*c', 90000, '1') AS REAL)) FROM n
-- char and unicode
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(char(i % 60000, i % 50000, i % 40000)) FROM n
-- dates
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(strftime('%Y-%m-%d', 'now', i || ' days')) FROM n
-- deep expression
SELECT abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(1))))))))))))))))))))))))))))))
-- CTEs that double
WITH c0 AS (SELECT 1 AS x), c1 AS (SELECT a.x FROM c0 a, c0 b), c2 AS (SELECT a.x FROM c1 a, c1 b), c3 AS (SELECT a.x FROM c2 a, c2 b), c4 AS (SELECT a.x FROM c3 a, c3 b), c5 AS (SELECT a.x FROM c4 a, c4 b), c6 AS (SELECT a.x FROM c5 a, c5 b), c7 AS (SELECT a.x FROM c6 a, c6 b), c8 AS (SELECT a.x FROM c7 a, c7 b), c9 AS (SELECT a.x FROM c8 a, c8 b), d0 AS (SELECT a.x FROM c9 a, c9 b), d1 AS (SELECT a.x FROM d0 a, d0 b), d2 AS (SELECT a.x FROM d1 a, d1 b), d3 AS (SELECT a.x FROM d2 a, d2 b), d4 AS (SELECT a.x FROM d3 a, d3 b), d5 AS (SELECT a.x FROM d4 a, d4 b), d6 AS (SELECT a.x FROM d5 a, d5 b), d7 AS (SELECT a.x FROM d6 a, d6 b), d8 AS (SELECT a.x FROM d7 a, d7 b), d9 AS (SELECT a.x FROM d8 a, d8 b) SELECT count(*) FROM d9
-- expressions that double
SELECT x || x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT x || x AS x FROM (SELECT 'a' AS x FROM sqlite_master)))))))))))))))))))))
-- many subqueries in one row
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 100000) SELECT (SELECT count(*) FROM n a, n b), (SELECT count(*) FROM n c, n d), (SELECT count(*) FROM n e, n f) FROM n
-- values joined
WITH v(x) AS (VALUES (1), (2), (3), (4), (5), (6), (7), (8), (9), (10)) SELECT count(*) FROM v a, v b, v c, v d, v e, v f, v g, v h, v i, v j
-- search with IN over an endless table
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT 0 IN (SELECT i FROM n)
-- mandelbrot, too fine
WITH RECURSIVE x(x) AS (VALUES (-2.0) UNION ALL SELECT x + 0.0001 FROM x WHERE x < 1.2), y(y) AS (VALUES (-1.0) UNION ALL SELECT y + 0.0001 FROM y WHERE y < 1.0), m(i, cx, cy, x, y) AS (SELECT 0, x, y, 0.0, 0.0 FROM x, y UNION ALL SELECT i + 1, cx, cy, x * x - y * y + cx, 2.0 * x * y + cy FROM m WHERE x * x + y * y < 4.0 AND i < 1000) SELECT max(i) FROM m
