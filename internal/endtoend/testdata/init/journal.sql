CREATE TABLE users (
  id INT PRIMARY KEY AUTO_INCREMENT,
  email VARCHAR(255) NOT NULL,
  password_hash VARCHAR(255) NOT NULL,
  first_name VARCHAR(100),
  last_name VARCHAR(100),
  date_of_birth DATE,
  locale CHAR(5) NOT NULL DEFAULT 'en',
  created_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  UNIQUE KEY users_email (email)
) CHARACTER SET utf8mb4;
CREATE TABLE entries (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  title VARCHAR(200) NOT NULL,
  slug VARCHAR(200) NOT NULL,
  body MEDIUMTEXT NOT NULL,
  mood TINYINT,
  weight DECIMAL(5,2),
  latitude DOUBLE,
  longitude DOUBLE,
  written_on DATE NOT NULL,
  KEY (user_id), KEY (title), UNIQUE KEY entries_slug (user_id, slug),
  FOREIGN KEY (user_id) REFERENCES users (id)
) CHARACTER SET utf8mb4;
CREATE TABLE attachments (
  id INT PRIMARY KEY AUTO_INCREMENT,
  entry_id INT NOT NULL,
  caption VARCHAR(200),
  mime_type VARCHAR(80) NOT NULL,
  content LONGBLOB,
  FOREIGN KEY (entry_id) REFERENCES entries (id)
) CHARACTER SET utf8mb4;
CREATE TABLE shares (
  id INT PRIMARY KEY AUTO_INCREMENT,
  entry_id INT NOT NULL,
  sender_id INT NOT NULL,
  user_id INT NOT NULL,
  message TEXT,
  FOREIGN KEY (entry_id) REFERENCES entries (id),
  FOREIGN KEY (sender_id) REFERENCES users (id),
  FOREIGN KEY (user_id) REFERENCES users (id)
) CHARACTER SET utf8mb4;
-- log
SELECT id, password_hash FROM users WHERE email = 'ada@example.org'
SELECT id, password_hash
  FROM users
  WHERE email = 'ben@example.org'
SELECT id, title, body FROM entries WHERE user_id = 1 AND title = 'Monday'
SELECT id, title FROM entries WHERE user_id = 1 AND title IN ('Monday', 'Tuesday')
SELECT id, title FROM entries WHERE user_id = 1 ORDER BY written_on DESC LIMIT 20
SELECT id, title FROM entries WHERE user_id = 1 AND body LIKE '%money%'
SELECT AVG(weight) FROM entries WHERE user_id = 1
INSERT INTO entries (user_id, title, slug, body, written_on) SELECT id, 'Monday', 'monday', 'First line
		    17 Query	not an entry of the log
last line', '2026-01-01' FROM users WHERE id = 0
INSERT INTO users (email, password_hash) SELECT CONCAT(email, '.old'), password_hash FROM users WHERE id = 0
-- prepared: 1
SELECT caption FROM attachments WHERE entry_id = ?
