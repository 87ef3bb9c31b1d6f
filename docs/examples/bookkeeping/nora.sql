-- Nora's household, owner 1.
INSERT INTO accounts (id, user_id, kind, name, opening) VALUES
  (1, 1, 'bank', 'Current account', 1250.00), (2, 1, 'cash', 'Purse', 60.00), (3, 1, 'card', 'Credit card', 0.00);
INSERT INTO contacts (id, user_id, name, note) VALUES
  (1, 1, 'Miller Housing', 'Flat 12, third floor'), (2, 1, 'Corner Bakery', NULL), (3, 1, 'City Tramways', 'yearly ticket in May'),
  (4, 1, 'Northern Power', 'contract 4711'), (5, 1, 'Harbour Clinic', 'wages on the last day of the month');
INSERT INTO categories (id, user_id, parent_id, name) VALUES
  (1, 1, NULL, 'Home'), (2, 1, 1, 'Rent'), (3, 1, 1, 'Electricity'), (4, 1, NULL, 'Food'), (5, 1, 4, 'Groceries'),
  (6, 1, 4, 'Bakery'), (7, 1, NULL, 'Travel'), (8, 1, NULL, 'Wages');
INSERT INTO budgets (user_id, category_id, month, planned) VALUES
  (1, 2, '2024-02-01', 780.00), (1, 3, '2024-02-01', 60.00), (1, 5, '2024-02-01', 150.00), (1, 6, '2024-02-01', 25.00), (1, 7, '2024-02-01', 30.00),
  (1, 2, '2024-03-01', 780.00), (1, 3, '2024-03-01', 60.00), (1, 5, '2024-03-01', 150.00), (1, 6, '2024-03-01', 25.00), (1, 7, '2024-03-01', 30.00);
INSERT INTO entries (id, user_id, account_id, contact_id, day, note) VALUES
  (1, 1, 1, 5, '2024-01-31', 'January'), (2, 1, 1, 1, '2024-02-01', 'Rent of February'), (3, 1, 2, 2, '2024-02-03', NULL),
  (4, 1, 3, 3, '2024-02-05', 'Visit to Ana'), (5, 1, 2, 2, '2024-02-10', 'Breakfast for six'), (6, 1, 1, 4, '2024-02-15', 'Power, monthly'),
  (7, 1, 1, NULL, '2024-02-17', 'Market'), (8, 1, 1, 5, '2024-02-29', 'February'), (9, 1, 1, 1, '2024-03-01', 'Rent of March'),
  (10, 1, 2, 2, '2024-03-02', NULL), (11, 1, 3, NULL, '2024-03-09', 'Market, with Ana'), (12, 1, 1, 4, '2024-03-15', 'Power, monthly'),
  (13, 1, 2, 2, '2024-03-16', 'Birthday cake'), (14, 1, 1, 5, '2024-03-28', 'March');
INSERT INTO items (user_id, entry_id, category_id, amount, note) VALUES
  (1, 1, 8, 2310.00, NULL), (1, 2, 2, -780.00, NULL), (1, 3, 6, -6.40, 'rye bread'), (1, 3, 5, -3.10, 'milk'), (1, 4, 7, -31.80, 'return ticket'),
  (1, 5, 6, -18.90, 'rolls and croissants'), (1, 5, 5, -4.25, 'jam'), (1, 6, 3, -57.50, NULL), (1, 7, 5, -42.35, 'vegetables'),
  (1, 7, 5, -19.99, 'cheese'), (1, 8, 8, 2310.00, NULL), (1, 9, 2, -780.00, NULL), (1, 10, 6, -6.40, 'rye bread'), (1, 11, 5, -88.12, 'for the party'),
  (1, 11, 7, -12.00, 'parking'), (1, 12, 3, -61.20, NULL), (1, 13, 6, -34.00, 'cake, 12 pieces'), (1, 14, 8, 2365.50, 'with overtime');
