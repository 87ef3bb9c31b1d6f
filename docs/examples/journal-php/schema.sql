-- The journal's tables as the application knows them. Create them straight on MariaDB, then let
-- `latchkey check --sql` print what makes them ready for cells.
CREATE TABLE users (
  id INT PRIMARY KEY AUTO_INCREMENT,
  email VARCHAR(255) NOT NULL,
  key_id CHAR(16) CHARACTER SET ascii,      -- only where users keep their keys: which key is the user's; no secret
  UNIQUE KEY (email)
) CHARACTER SET utf8mb4;

CREATE TABLE entries (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  title VARCHAR(200) COLLATE utf8mb4_bin NOT NULL,
  body TEXT NOT NULL,
  created TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
  KEY (user_id), KEY (title)
) CHARACTER SET utf8mb4;
