"""psycopg 3 through the proxy: commit and rollback of a global transaction, by its usual interface, and its pool.

Takes host, port and schema as arguments; prints `ok`.
"""

import sys

import psycopg
from psycopg_pool import ConnectionPool

HOST, PORT, SCHEMA = sys.argv[1], int(sys.argv[2]), sys.argv[3]
WHERE = {
    "host": HOST, "port": PORT, "user": "app", "password": "app-password", "dbname": "shop",
    "options": f"-c search_path={SCHEMA}",
}
ODD = "it's \\ 😀 $1 %s"


def check(connection):
    def one(sql, arguments=None):
        return connection.execute(sql, arguments).fetchone()[0]

    def rows():
        return connection.execute("SELECT id, v, s, n, b FROM driver ORDER BY id").fetchall()

    connection.autocommit = True
    start = rows()

    # Autocommit, commit.
    xid = one("SELECT atone_begin('psycopg')")
    assert one("SELECT atone_xid()") == xid
    assert connection.execute("UPDATE driver SET v = v + 1 WHERE id = 1").rowcount == 1
    assert one("SELECT atone_commit()") == "committed"
    assert rows()[0][1] == start[0][1] + 1

    # Parameters, prepared after a while (psycopg prepares what it sees five times), RETURNING, a local transaction by
    # the driver's own calls, autocommit; rollback by xid from another place in the same session.
    before = rows()
    xid = one("SELECT atone_begin(%s, %s)", ("psycopg", 30000))
    with connection.transaction():
        changed = connection.execute(
            "UPDATE driver SET v = %s, s = %s, n = %s, b = %s WHERE id = %s RETURNING id, v, s, b",
            (77, ODD, "1.50", b"\x00\xff", 1), prepare=True,
        ).fetchall()
        assert changed == [(1, 77, ODD, b"\x00\xff")], changed
        ids = [
            one("INSERT INTO driver (v, s) VALUES (%s, %s) RETURNING id", (number, None))
            for number in range(8)
        ]
        assert ids == sorted(set(ids)) and min(ids) > 2, ids
        with connection.cursor() as cursor:
            # executemany sends all of them in one go.
            cursor.executemany("INSERT INTO driver (v) VALUES (%s)", [(6,), (7,), (8,)])
            assert cursor.rowcount == 3, cursor.rowcount
        with connection.transaction():
            connection.execute("UPDATE driver SET v = v + 1 WHERE id = %s", (2,))
    assert one("DELETE FROM driver WHERE id = %s RETURNING v", (2,), ) == start[1][1] + 1
    assert one("SELECT count(*) FROM driver") == 12
    assert one("SELECT atone_rollback(%s)", (xid,)) == "rolled_back"
    assert rows() == before, rows()

    # What the driver collects in a pipeline goes out in one go.
    one("SELECT atone_begin()")
    with connection.pipeline():
        for number in range(3):
            connection.execute("INSERT INTO driver (v) VALUES (%s)", (number,))
        connection.execute("UPDATE driver SET v = 0 WHERE id = %s", (1,))
    assert one("SELECT sum(v) FROM driver WHERE id <> 2") == 3
    assert one("SELECT atone_rollback()") == "rolled_back"
    assert rows() == before, rows()

    # An error inside a local transaction is the server's own, and takes that one back only.
    one("SELECT atone_begin()")
    try:
        with connection.transaction():
            connection.execute("UPDATE driver SET v = 55 WHERE id = %s", (1,))
            connection.execute("INSERT INTO driver (id, v) VALUES (%s, %s)", (1, 1))
        raise AssertionError("a row twice was let in")
    except psycopg.errors.UniqueViolation:
        pass
    connection.execute("UPDATE driver SET v = v + 1 WHERE id = %s", (2,))
    assert one("SELECT atone_commit()") == "committed"
    assert [row[1] for row in rows()] == [start[0][1] + 1, start[1][1] + 1], rows()

    # A refusal is an ordinary error of the driver, and the connection goes on.
    one("SELECT atone_begin()")
    try:
        connection.execute("TRUNCATE driver")
        raise AssertionError("TRUNCATE was not refused")
    except psycopg.errors.FeatureNotSupported as error:
        assert str(error).startswith("atone: "), error
    assert one("SELECT atone_rollback()") == "rolled_back"


with psycopg.connect(**WHERE) as connection:
    check(connection)

# A pool that resets what it lends (as its documentation shows): each borrowed connection starts unbound.
with ConnectionPool(
    kwargs=WHERE | {"autocommit": True}, min_size=1, max_size=1, reset=lambda c: c.execute("DISCARD ALL")
) as pool:
    with pool.connection() as connection:
        xid = connection.execute("SELECT atone_begin()").fetchone()[0]
    with pool.connection() as connection:
        assert connection.execute("SELECT atone_xid()").fetchone()[0] is None
        assert connection.execute("SELECT atone_rollback(%s)", (xid,)).fetchone()[0] == "rolled_back"
print("ok")
