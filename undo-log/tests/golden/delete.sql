# DELETE: with and without conditions; everything but one plain table is refused.
DELETE FROM item WHERE id BETWEEN 1 AND ?
DELETE FROM item
DELETE FROM stock ORDER BY n LIMIT 3
DELETE FROM `every``thing` WHERE id = x'0127'
DELETE QUICK FROM item
DELETE item FROM item
DELETE FROM item USING item JOIN stock
DELETE FROM item WHERE id = 1 RETURNING id
