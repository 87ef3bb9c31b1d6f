-- What a journal asks, as the application sends it: plain SQL for MariaDB. Owner 1 asks.

-- newest entries
SELECT id, written, title, LEFT(body, 40) AS beginning, mood
FROM entries
WHERE user_id = 1
ORDER BY written DESC, id DESC
LIMIT 20;

-- entries by title
SELECT id, written, body
FROM entries
WHERE user_id = 1 AND title = 'Walk'
ORDER BY written DESC, id DESC
LIMIT 20;

-- search
SELECT id, DATE(written) AS day, title, SUBSTRING(body, GREATEST(1, LOCATE('harbour', body) - 20), 60) AS passage
FROM entries
WHERE user_id = 1 AND (title LIKE '%harbour%' OR body LIKE '%harbour%')
ORDER BY written DESC, id DESC
LIMIT 50;

-- search for whole words
SELECT id, DATE(written) AS day, title
FROM entries
WHERE user_id = 1 AND CONCAT(title, ' ', body) REGEXP '\\b(rain|ice|snow)\\b'
ORDER BY written DESC, id DESC
LIMIT 50;

-- search in one month
SELECT id, DATE(written) AS day, title
FROM entries
WHERE user_id = 1 AND written >= '2024-03-01' AND written < '2024-04-01' AND (title LIKE '%harbour%' OR body LIKE '%harbour%')
ORDER BY written DESC, id DESC
LIMIT 50;

-- mood by month
SELECT DATE_FORMAT(written, '%Y-%m') AS month, COUNT(mood) AS entries, ROUND(AVG(mood), 2) AS mean, MIN(mood) AS worst, MAX(mood) AS best,
  ROUND(STDDEV_SAMP(mood), 2) AS deviation
FROM entries
WHERE user_id = 1
GROUP BY month
ORDER BY month;

-- mood by weekday
SELECT DAYNAME(written) AS day, COUNT(*) AS entries, ROUND(AVG(mood), 2) AS mean
FROM entries
WHERE user_id = 1 AND mood IS NOT NULL
GROUP BY WEEKDAY(written), day
ORDER BY WEEKDAY(written);

-- mood of seven entries
SELECT DATE(written) AS day, mood, ROUND(AVG(mood) OVER w, 2) AS mean, mood - LAG(mood) OVER (ORDER BY written, id) AS since_the_last
FROM entries
WHERE user_id = 1
WINDOW w AS (ORDER BY written, id ROWS BETWEEN 6 PRECEDING AND CURRENT ROW)
ORDER BY written DESC, id DESC
LIMIT 30;

-- mood by tag
SELECT t.name, COUNT(*) AS entries, ROUND(AVG(e.mood), 2) AS mean
FROM tags t
JOIN entry_tags et ON et.tag_id = t.id
JOIN entries e ON e.id = et.entry_id
WHERE t.user_id = 1 AND e.user_id = 1
GROUP BY t.id
ORDER BY mean DESC, t.name;

-- words by month
SELECT DATE_FORMAT(written, '%Y-%m') AS month, COUNT(*) AS entries,
  SUM(LENGTH(TRIM(body)) - LENGTH(REPLACE(TRIM(body), ' ', '')) + 1) AS words, SUM(CHAR_LENGTH(body)) AS characters
FROM entries
WHERE user_id = 1
GROUP BY month
ORDER BY month;

-- longest entries
SELECT id, title, LENGTH(TRIM(body)) - LENGTH(REPLACE(TRIM(body), ' ', '')) + 1 AS words
FROM entries
WHERE user_id = 1
ORDER BY words DESC, id
LIMIT 10;

-- words of one month
WITH RECURSIVE text AS (
  SELECT id, CONCAT(REGEXP_REPLACE(LOWER(body), '[^a-z]+', ' '), ' ') AS rest
  FROM entries
  WHERE user_id = 1 AND written >= '2024-03-01' AND written < '2024-04-01'
), words AS (
  SELECT id, SUBSTRING_INDEX(rest, ' ', 1) AS word, SUBSTRING(rest, LOCATE(' ', rest) + 1) AS rest FROM text
  UNION ALL
  SELECT id, SUBSTRING_INDEX(rest, ' ', 1), SUBSTRING(rest, LOCATE(' ', rest) + 1) FROM words WHERE rest <> ''
)
SELECT word, COUNT(*) AS times, COUNT(DISTINCT id) AS entries
FROM words
WHERE CHAR_LENGTH(word) > 2
GROUP BY word
ORDER BY times DESC, word
LIMIT 12;

-- on this day
SELECT YEAR(written) AS year, title, body
FROM entries
WHERE user_id = 1 AND DATE_FORMAT(written, '%m-%d') = '03-14' AND TRIM(body) <> ''
ORDER BY written, id
LIMIT 20;

-- days in a row
SELECT MIN(day) AS first_day, COUNT(*) AS days
FROM (
  SELECT day, day - INTERVAL ROW_NUMBER() OVER (ORDER BY day) DAY AS streak
  FROM (SELECT DISTINCT DATE(written) AS day FROM entries WHERE user_id = 1) d
) s
GROUP BY streak
ORDER BY days DESC, first_day
LIMIT 5;
