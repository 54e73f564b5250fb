"""asyncpg through the proxy: commit and rollback of a global transaction, by its usual interface, and its pool.

Takes host, port and schema as arguments; prints `ok`. asyncpg prepares every statement with parameters and speaks in
binary; its pool resets each connection (RESET ALL among others) before it lends it again.
"""

import asyncio
import sys
from decimal import Decimal

import asyncpg

HOST, PORT, SCHEMA = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WHERE = {
    "host": HOST, "port": PORT, "user": "app", "password": "app-password", "database": "shop",
    "server_settings": {"search_path": SCHEMA},
}
ODD = "it's \\ 😀 $1 %s"


async def check(connection):
    one = connection.fetchval

    async def rows():
        return [tuple(row) for row in await connection.fetch("SELECT id, v, s, n, b FROM driver ORDER BY id")]

    start = await rows()

    # Autocommit, commit.
    xid = await one("SELECT atone_begin('asyncpg')")
    assert await one("SELECT atone_xid()") == xid
    assert await connection.execute("UPDATE driver SET v = v + 1 WHERE id = 1") == "UPDATE 1"
    assert await one("SELECT atone_commit()") == "committed"
    assert (await rows())[0][1] == start[0][1] + 1

    # Prepared, RETURNING, a local transaction by the driver's own calls, autocommit; rollback by xid.
    before = await rows()
    xid = await one("SELECT atone_begin($1, $2)", "asyncpg", "30000")
    async with connection.transaction():
        changed = await connection.fetch(
            "UPDATE driver SET v = $1, s = $2, n = $3, b = $4 WHERE id = $5 RETURNING id, v, s, b",
            77, ODD, Decimal("1.50"), b"\x00\xff", 1,
        )
        assert [tuple(row) for row in changed] == [(1, 77, ODD, b"\x00\xff")], changed
        insert = await connection.prepare("INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id")
        ids = [await insert.fetchval(number, None) for number in range(8)]
        assert ids == sorted(set(ids)) and min(ids) > 2, ids
        # executemany sends all of them in one go.
        await connection.executemany("INSERT INTO driver (v) VALUES ($1)", [(6,), (7,), (8,)])
        async with connection.transaction():
            await connection.execute("UPDATE driver SET v = v + 1 WHERE id = $1", 2)
    assert await one("DELETE FROM driver WHERE id = $1 RETURNING v", 2) == start[1][1] + 1
    assert await one("SELECT count(*) FROM driver") == 12
    assert await one("SELECT atone_rollback($1)", xid) == "rolled_back"
    assert await rows() == before, await rows()

    # A cursor of the driver's reads row by row beside writes.
    await one("SELECT atone_begin()")
    async with connection.transaction():
        async for row in connection.cursor("SELECT id FROM driver ORDER BY id", prefetch=1):
            await connection.execute("UPDATE driver SET v = 0 WHERE id = $1", row["id"])
    assert await one("SELECT sum(v) FROM driver") == 0
    assert await one("SELECT atone_rollback()") == "rolled_back"
    assert await rows() == before, await rows()

    # An error inside a local transaction is the server's own, and takes that one back only.
    await one("SELECT atone_begin()")
    try:
        async with connection.transaction():
            await connection.execute("UPDATE driver SET v = 55 WHERE id = $1", 1)
            await connection.execute("INSERT INTO driver (id, v) VALUES ($1, $2)", 1, 1)
        raise AssertionError("a row twice was let in")
    except asyncpg.UniqueViolationError:
        pass
    await connection.execute("UPDATE driver SET v = v + 1 WHERE id = $1", 2)
    assert await one("SELECT atone_commit()") == "committed"
    assert [row[1] for row in await rows()] == [start[0][1] + 1, start[1][1] + 1], await rows()

    # A refusal is an ordinary error of the driver, and the connection goes on.
    await one("SELECT atone_begin()")
    try:
        await connection.execute("TRUNCATE driver")
        raise AssertionError("TRUNCATE was not refused")
    except asyncpg.FeatureNotSupportedError as error:
        assert str(error).startswith("atone: "), error
    assert await one("SELECT atone_rollback()") == "rolled_back"


async def pool():
    async with asyncpg.create_pool(**WHERE, min_size=1, max_size=1) as pool:
        async with pool.acquire() as connection:
            pid = await connection.fetchval("SELECT pg_backend_pid()")
            xid = await connection.fetchval("SELECT atone_begin()")
            await connection.execute("UPDATE driver SET v = 0 WHERE id = $1", 1)
        # The same session, given back and lent again: unbound. The transaction itself goes on.
        async with pool.acquire() as connection:
            assert await connection.fetchval("SELECT pg_backend_pid()") == pid
            assert await connection.fetchval("SELECT atone_xid()") is None
            assert await connection.fetchval("SELECT atone_rollback($1)", xid) == "rolled_back"


async def main():
    connection = await asyncpg.connect(**WHERE)
    await check(connection)
    await connection.close()
    await pool()


asyncio.run(main())
print("ok")
