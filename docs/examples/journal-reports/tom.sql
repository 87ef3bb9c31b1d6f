-- Tom, owner 2.
INSERT INTO entries (id, user_id, written, title, body, mood) VALUES
  (101, 2, '2024-03-02 23:55:00', 'Walk', 'With Ines to the lighthouse. I did not ask her.', 5),
  (102, 2, '2024-03-03 09:00:00', 'Walk', 'Alone this time, the same way.', 6);
INSERT INTO tags (id, user_id, name) VALUES (11, 2, 'outside');
INSERT INTO entry_tags (entry_id, tag_id) VALUES (101, 11), (102, 11);
