-- The books of the bakery, owner 2.
INSERT INTO accounts (id, user_id, kind, name, opening) VALUES (11, 2, 'bank', 'Business account', 18400.00), (12, 2, 'cash', 'Till', 300.00);
INSERT INTO contacts (id, user_id, name, note) VALUES (11, 2, 'Mill at the Brook', 'flour, 30 days'), (12, 2, 'Walk-in customers', NULL);
INSERT INTO categories (id, user_id, parent_id, name) VALUES (11, 2, NULL, 'Sales'), (12, 2, NULL, 'Goods'), (13, 2, 12, 'Flour');
INSERT INTO budgets (user_id, category_id, month, planned) VALUES (2, 13, '2024-03-01', 2400.00);
INSERT INTO entries (id, user_id, account_id, contact_id, day, note) VALUES
  (101, 2, 12, 12, '2024-03-01', 'Takings'), (102, 2, 12, 12, '2024-03-02', 'Takings'), (103, 2, 11, 11, '2024-03-04', 'Invoice 2024-118');
INSERT INTO items (user_id, entry_id, category_id, amount, note) VALUES
  (2, 101, 11, 1204.60, 'bread'), (2, 101, 11, 318.20, 'cake'), (2, 102, 11, 1530.10, 'bread'), (2, 103, 13, -2210.00, '2,600 kg');
