"""asyncpg through the proxy: a commit and a rollback, by its usual interface.

Takes host, port and schema as arguments; prints `ok`. It prepares everything and speaks binary only.
"""

import asyncio
import sys

import asyncpg

host, port, schema = sys.argv[1], int(sys.argv[2]), sys.argv[3]
account = dict(
    host=host, port=port, user="app", password="app-password", database="shop",
    server_settings={"search_path": schema},
)


async def main():
    connection = await asyncpg.connect(**account)
    one = connection.fetchval

    async def value():
        return await one("SELECT v FROM driver WHERE id = 1")

    start = await value()

    # Text, autocommit, commit.
    xid = await one("SELECT atone_begin('asyncpg')")
    assert await one("SELECT atone_xid()") == xid
    assert await connection.execute("UPDATE driver SET v = v + 1 WHERE id = 1") == "UPDATE 1"
    assert await one("SELECT atone_commit()") == "committed"
    assert await value() == start + 1

    # Prepared and binary, a local transaction by the driver's own calls, rollback by xid.
    for _ in range(2):
        xid = await one("SELECT atone_begin($1, $2)", "asyncpg", "30000")
        async with connection.transaction():
            text = "UPDATE driver SET v = $1, s = $2 WHERE id = $3"
            assert await connection.execute(text, 77, "it's \\ 😀".encode(), 1) == "UPDATE 1"
            inserted = await one("INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id", 5, None)
            await connection.executemany("INSERT INTO driver (v) VALUES ($1)", [(n,) for n in range(20)])
            rows = [row["v"] async for row in connection.cursor("SELECT v FROM driver WHERE id > $1", inserted)]
            assert sorted(rows) == list(range(20)), rows
        assert await value() == 77
        assert await one("SELECT atone_rollback($1)", xid) == "rolled_back"
        assert await value() == start + 1
        assert await one("SELECT count(*) FROM driver WHERE id >= $1", inserted) == 0

    # A refusal is an ordinary error of the driver, and the connection goes on.
    await one("SELECT atone_begin()")
    try:
        await connection.execute("TRUNCATE driver")
        raise AssertionError("TRUNCATE was not refused")
    except asyncpg.FeatureNotSupportedError:
        pass
    assert await one("SELECT atone_rollback()") == "rolled_back"
    await connection.close()


asyncio.run(main())
print("ok")
