-- What a bookkeeping asks, as the application sends it: plain SQL for MariaDB. Owner 1 asks, about account 1 where one is asked for.

-- newest entries
SELECT e.id, e.day, a.name AS account, c.name AS contact, e.note
FROM entries e
JOIN accounts a ON a.id = e.account_id
LEFT JOIN contacts c ON c.id = e.contact_id
WHERE e.user_id = 1
ORDER BY e.day DESC, e.id DESC
LIMIT 20;

-- balance of each account
SELECT a.name, a.kind, a.opening + COALESCE(SUM(i.amount), 0) AS balance
FROM accounts a
LEFT JOIN entries e ON e.account_id = a.id
LEFT JOIN items i ON i.entry_id = e.id
WHERE a.user_id = 1
GROUP BY a.id
ORDER BY a.name, a.id;

-- balance per account and month
SELECT a.name, m.month, m.received, m.paid,
  a.opening + SUM(m.received + m.paid) OVER (PARTITION BY a.id ORDER BY m.month) AS balance
FROM (
  SELECT e.account_id, DATE_FORMAT(e.day, '%Y-%m') AS month,
    SUM(IF(i.amount > 0, i.amount, 0)) AS received, SUM(IF(i.amount < 0, i.amount, 0)) AS paid
  FROM entries e
  JOIN items i ON i.entry_id = e.id
  WHERE e.user_id = 1
  GROUP BY e.account_id, month
) m
JOIN accounts a ON a.id = m.account_id
WHERE a.user_id = 1
ORDER BY a.name, a.id, m.month;

-- running balance
SELECT s.day, c.name AS contact, s.note, s.amount, s.balance
FROM (
  SELECT e.id, e.day, e.contact_id, e.note, SUM(i.amount) AS amount, a.opening + SUM(SUM(i.amount)) OVER (ORDER BY e.day, e.id) AS balance
  FROM accounts a
  JOIN entries e ON e.account_id = a.id
  JOIN items i ON i.entry_id = e.id
  WHERE a.user_id = 1 AND e.account_id = 1
  GROUP BY e.id
) s
LEFT JOIN contacts c ON c.id = s.contact_id AND c.user_id = 1
ORDER BY s.day DESC, s.id DESC
LIMIT 25;

-- search
SELECT e.day, c.name AS contact, e.note, i.note AS item, i.amount
FROM entries e
JOIN items i ON i.entry_id = e.id
LEFT JOIN contacts c ON c.id = e.contact_id
WHERE e.user_id = 1 AND (c.name LIKE '%bak%' OR e.note LIKE '%ana%' OR i.note LIKE '%cake%')
ORDER BY e.day DESC, i.id DESC
LIMIT 50;

-- search in one month
SELECT e.day, c.name AS contact, e.note, i.note AS item, i.amount
FROM entries e
JOIN items i ON i.entry_id = e.id
LEFT JOIN contacts c ON c.id = e.contact_id
WHERE e.user_id = 1 AND e.day BETWEEN '2024-03-01' AND '2024-03-31'
  AND (c.name LIKE '%bak%' OR e.note LIKE '%ana%' OR i.note LIKE '%cake%')
ORDER BY e.day DESC, i.id DESC
LIMIT 50;

-- entries with one contact
SELECT e.day, e.note, SUM(i.amount) AS amount
FROM contacts c
JOIN entries e ON e.contact_id = c.id
JOIN items i ON i.entry_id = e.id
WHERE c.user_id = 1 AND c.name = 'Corner Bakery'
GROUP BY e.id
ORDER BY e.day DESC, e.id DESC
LIMIT 25;

-- top categories
SELECT k.name, COUNT(*) AS items, SUM(i.amount) AS paid, ROUND(100 * SUM(i.amount) / SUM(SUM(i.amount)) OVER (), 1) AS percent
FROM items i
JOIN entries e ON e.id = i.entry_id
JOIN categories k ON k.id = i.category_id
WHERE i.user_id = 1 AND e.day BETWEEN '2024-01-01' AND '2024-12-31' AND i.amount < 0
GROUP BY k.id
ORDER BY paid, k.id
LIMIT 10;

-- budget comparison
SELECT k.name, b.planned, COALESCE(-s.amount, 0) AS spent, b.planned + COALESCE(s.amount, 0) AS left_over,
  CASE WHEN s.amount IS NULL THEN 'unused' WHEN -s.amount > b.planned THEN 'over' ELSE 'within' END AS state
FROM budgets b
JOIN categories k ON k.id = b.category_id
LEFT JOIN (
  SELECT i.category_id, SUM(i.amount) AS amount
  FROM entries e
  JOIN items i ON i.entry_id = e.id
  WHERE e.user_id = 1 AND e.day >= '2024-03-01' AND e.day < '2024-03-01' + INTERVAL 1 MONTH
  GROUP BY i.category_id
) s ON s.category_id = b.category_id
WHERE b.user_id = 1 AND b.month = '2024-03-01'
ORDER BY left_over, k.name;

-- category tree
WITH RECURSIVE tree AS (
  SELECT id, CAST(name AS CHAR(400)) AS path, id AS root
  FROM categories
  WHERE user_id = 1 AND parent_id IS NULL
  UNION ALL
  SELECT k.id, CONCAT(t.path, ' / ', k.name), t.root
  FROM categories k
  JOIN tree t ON t.id = k.parent_id
  WHERE k.user_id = 1
)
SELECT t.path, COALESCE(SUM(i.amount), 0) AS amount, SUM(COALESCE(SUM(i.amount), 0)) OVER (PARTITION BY t.root) AS whole_branch
FROM tree t
LEFT JOIN items i ON i.category_id = t.id AND i.user_id = 1
GROUP BY t.id, t.path, t.root
ORDER BY t.path;

-- income by quarter
SELECT YEAR(e.day) AS year, QUARTER(e.day) AS quarter, SUM(IF(i.amount > 0, i.amount, 0)) AS received,
  SUM(IF(i.amount < 0, i.amount, 0)) AS paid, SUM(i.amount) AS rest
FROM entries e
JOIN items i ON i.entry_id = e.id
WHERE e.user_id = 1
GROUP BY year, quarter WITH ROLLUP;

-- page of large items
SELECT SQL_CALC_FOUND_ROWS e.day, k.name, i.amount, i.note
FROM items i
JOIN entries e ON e.id = i.entry_id
JOIN categories k ON k.id = i.category_id
WHERE i.user_id = 1 AND i.amount < -30
ORDER BY i.amount, i.id
LIMIT 5 OFFSET 5;
SELECT FOUND_ROWS() AS large_items;

-- paid twice
SELECT d.day, c.name AS contact, d.amount, COUNT(*) AS times, GROUP_CONCAT(d.id ORDER BY d.id) AS entries
FROM (
  SELECT e.id, e.day, e.contact_id, SUM(i.amount) AS amount
  FROM entries e
  JOIN items i ON i.entry_id = e.id
  WHERE e.user_id = 1
  GROUP BY e.id
) d
JOIN contacts c ON c.id = d.contact_id
WHERE c.user_id = 1
GROUP BY d.day, d.contact_id, d.amount
HAVING times > 1
ORDER BY d.day DESC, d.amount, d.contact_id
LIMIT 20;
