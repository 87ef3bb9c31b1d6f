-- Ines, owner 1.
INSERT INTO entries (id, user_id, written, title, body, mood) VALUES
  (1, 1, '2023-03-14 21:10:00', 'First evening', 'The boxes are all in the hall. I can hear the harbour from the bed.', 7),
  (2, 1, '2023-03-15 22:40:00', 'Unpacking', 'Found the lamp, lost the kettle. Tea from a saucepan.', 5),
  (3, 1, '2024-02-28 07:20:00', 'Walk', 'Along the harbour before work. Ice between the boats.', 8),
  (4, 1, '2024-02-29 23:05:00', 'Leap day', 'A day that nobody counted on. Wrote three letters and burnt one.', 6),
  (5, 1, '2024-03-01 21:30:00', 'Rain', 'Rain all day, and all day at the desk.', 3),
  (6, 1, '2024-03-02 20:15:00', 'Walk', 'To the lighthouse and back with Tom. We talked about the summer and said little.', 9),
  (7, 1, '2024-03-04 22:00:00', 'Monday', 'Too many meetings, no lunch.', 4),
  (8, 1, '2024-03-14 22:10:00', 'A year here', 'A year of hearing the harbour from the bed. The kettle turned up, too.', 8);
INSERT INTO tags (id, user_id, name) VALUES (1, 1, 'home'), (2, 1, 'outside'), (3, 1, 'work');
INSERT INTO entry_tags (entry_id, tag_id) VALUES (1, 1), (2, 1), (3, 2), (3, 3), (5, 3), (6, 2), (7, 3), (8, 1);
