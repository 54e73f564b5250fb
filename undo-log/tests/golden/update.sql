# UPDATE: literal and bound values, order and limit, aliases, tails that must not be evaluated twice.
UPDATE item SET qty = qty - 1 WHERE id = 7
update shop.`item` as i set i.qty = i.qty - ?, name = 'a,b WHERE' where i.id in (?, ?) order by i.id
UPDATE item SET qty = 0
UPDATE item SET qty = qty + 1 WHERE qty > 0 ORDER BY id DESC LIMIT 1;
UPDATE item SET qty = ? WHERE qty < ? AND name <> 'x' LIMIT ? -- the cheapest
UPDATE item SET qty = 1 WHERE RAND() < 0.5
UPDATE item SET qty = 1 WHERE id IN (SELECT item FROM stock WHERE n = 0)
UPDATE stock SET n = n - 1 WHERE item = 7 AND place = 'Ost'
UPDATE stock SET n = n - 1 WHERE item = @item LIMIT 2
UPDATE `every``thing` SET f = 1
UPDATE IGNORE item SET qty = 1
UPDATE item, stock SET qty = 1
UPDATE item JOIN stock ON item.id = stock.item SET qty = 1
UPDATE item SET qty = ROW_COUNT()
UPDATE item SET id = 8 WHERE id = 7
UPDATE item SET item.id = id, qty = 1 WHERE id = 7
UPDATE stock SET place = CONCAT(place, ?), n = 1, item = item + 1 ORDER BY item DESC
UPDATE item SET qty = 5, id = qty WHERE id = 7
UPDATE item SET id = RAND() WHERE id = 7
