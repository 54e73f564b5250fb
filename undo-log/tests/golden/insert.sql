# INSERT: rows of values, bound values, SET; the forms whose rows are not in the text are refused.
INSERT INTO item VALUES (7, 'Apfel', 3), (8, ?, 4)
INSERT item (id, name) VALUES (?, 'x')
INSERT INTO item SET id = 7, qty = 2
INSERT INTO stock VALUES ('Ost', 7, 10)
INSERT INTO stock VALUES ('Ost', 7, 10), ('West', 7, 1)
INSERT INTO `every``thing` VALUES (x'0127', 1, 2, 3, 4, 5, 6, 7, 8)
INSERT IGNORE INTO item VALUES (7, 'x', 1)
INSERT INTO item VALUES (7, 'x', 1) ON DUPLICATE KEY UPDATE qty = 1
INSERT INTO item SELECT * FROM item
REPLACE INTO item VALUES (7, 'x', 1)
INSERT INTO item VALUES (1 + ?, 'x', 1), (LAST_INSERT_ID(), 'y', 2)
INSERT INTO stock VALUES (UUID(), @item /* which */, 1)
