-- The tables as the application knows them. Create them straight on MariaDB, then let `latchkey check --sql` print what makes
-- them ready for cells. Who and when stay readable and indexed.
CREATE TABLE entries (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  written DATETIME NOT NULL,
  title VARCHAR(200) NOT NULL,              -- sealed, found by equality
  body TEXT NOT NULL,                       -- sealed
  mood TINYINT,                             -- sealed; 1 to 10
  KEY (user_id, written), KEY (title)
) CHARACTER SET utf8mb4;

CREATE TABLE tags (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  name VARCHAR(60) NOT NULL,                -- sealed, unique within one owner
  UNIQUE KEY (user_id, name)
) CHARACTER SET utf8mb4;

CREATE TABLE entry_tags (
  entry_id INT NOT NULL,
  tag_id INT NOT NULL,
  PRIMARY KEY (entry_id, tag_id), KEY (tag_id)
) CHARACTER SET utf8mb4;
