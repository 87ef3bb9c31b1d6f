-- The tables as the application knows them. Create them straight on MariaDB, then let `latchkey check --sql` print what makes
-- them ready for cells. Who, when and which account stay readable and indexed: by them MariaDB narrows what has to be opened.
CREATE TABLE accounts (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  kind ENUM('cash','bank','card') NOT NULL,
  name VARCHAR(80) NOT NULL,                -- sealed
  opening DECIMAL(12,2) NOT NULL,           -- sealed
  KEY (user_id)
) CHARACTER SET utf8mb4;

CREATE TABLE contacts (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  name VARCHAR(120) NOT NULL,               -- sealed, found by equality
  note TEXT,                                -- sealed
  KEY (user_id), KEY (name)
) CHARACTER SET utf8mb4;

CREATE TABLE categories (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  parent_id INT,
  name VARCHAR(80) NOT NULL,                -- sealed
  KEY (user_id), KEY (parent_id)
) CHARACTER SET utf8mb4;

CREATE TABLE budgets (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  category_id INT NOT NULL,
  month DATE NOT NULL,                      -- the first day of the month
  planned DECIMAL(12,2) NOT NULL,           -- sealed
  KEY (user_id, month)
) CHARACTER SET utf8mb4;

-- An entry is one booking on one account; its items say what it was for. What was paid out is negative.
CREATE TABLE entries (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  account_id INT NOT NULL,
  contact_id INT,
  day DATE NOT NULL,
  note VARCHAR(255),                        -- sealed
  KEY (user_id, day), KEY (account_id, day), KEY (contact_id)
) CHARACTER SET utf8mb4;

CREATE TABLE items (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  entry_id INT NOT NULL,
  category_id INT NOT NULL,
  amount DECIMAL(12,2) NOT NULL,            -- sealed
  note VARCHAR(255),                        -- sealed
  KEY (user_id), KEY (entry_id), KEY (category_id)
) CHARACTER SET utf8mb4;
