PRAGMA journal_mode = DELETE;
CREATE TABLE item(id INTEGER PRIMARY KEY, name TEXT, price REAL, stock INTEGER);
CREATE TABLE sale(item INTEGER REFERENCES item(id), amount INTEGER, day INTEGER);
BEGIN;
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ROWS)
  INSERT INTO item SELECT i, 'item-' || (i * 7919 % 100003), (i * 31 % 1000) / 10.0, i % 97 FROM n;
INSERT INTO sale SELECT id, stock % 13, id % 365 FROM item;
COMMIT;
CREATE INDEX item_by_name ON item(name);
CREATE INDEX sale_by_day ON sale(day);
SELECT count(*), sum(price), min(name), max(name) FROM item;
SELECT day, sum(amount * price) FROM sale JOIN item ON item.id = sale.item
  WHERE day < 10 GROUP BY day ORDER BY day;
UPDATE item SET stock = stock + 1 WHERE id % 3 = 0;
DELETE FROM sale WHERE day > 300;
SELECT count(*), sum(stock) FROM item;
SELECT count(*) FROM sale;
SELECT length(group_concat(name)) FROM item WHERE id < 1000;
PRAGMA integrity_check;
