"""psycopg 3 through the proxy: a commit and a rollback, by its usual interface.

Takes host, port and schema as arguments; prints `ok`. Its parameters travel by the extended protocol, and statements that
are used often are prepared.
"""

import sys

import psycopg

host, port, schema = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = psycopg.connect(
    host=host, port=port, user="app", password="app-password", dbname="shop",
    options=f"-c search_path={schema}", autocommit=True,
)


def one(sql, arguments=None, **more):
    return connection.execute(sql, arguments, **more).fetchone()[0]


def value():
    return one("SELECT v FROM driver WHERE id = 1")


start = value()

# Text, autocommit, commit.
xid = one("SELECT atone_begin('python')")
assert one("SELECT atone_xid()") == xid
assert connection.execute("UPDATE driver SET v = v + 1 WHERE id = 1").rowcount == 1
assert one("SELECT atone_commit()") == "committed"
assert value() == start + 1, value()

# Arguments in text and in binary, prepared; a local transaction by the driver's own calls; rollback by xid.
for binary in (False, True):
    xid = one("SELECT atone_begin(%s, %s)", ("python", "30000"))
    with connection.transaction():
        cursor = connection.cursor(binary=binary)
        cursor.execute("UPDATE driver SET v = %s, s = %s WHERE id = %s", (77, "it's \\ 😀".encode(), 1), prepare=True)
        assert cursor.rowcount == 1
        cursor.execute("INSERT INTO driver (v, s) VALUES (%s, %s) RETURNING id", (5, None), prepare=True)
        inserted = cursor.fetchone()[0]
        assert inserted > 1, inserted
        # A pipeline of many.
        cursor.executemany("INSERT INTO driver (v) VALUES (%s)", [(n,) for n in range(20)])
        assert cursor.rowcount == 20, cursor.rowcount
        try:
            with connection.transaction():
                cursor.execute("DELETE FROM driver WHERE id = %s", (1,))
                raise psycopg.Rollback()
        except psycopg.Rollback:
            pass
    assert value() == 77
    assert one("SELECT atone_rollback(%s)", (xid,)) == "rolled_back"
    assert value() == start + 1, value()
    assert one("SELECT count(*) FROM driver WHERE id >= %s", (inserted,)) == 0

# A refusal is an ordinary error of the driver, and the connection goes on.
one("SELECT atone_begin()")
try:
    connection.execute("TRUNCATE driver")
    raise AssertionError("TRUNCATE was not refused")
except psycopg.errors.FeatureNotSupported:
    pass
assert one("SELECT atone_rollback()") == "rolled_back"
connection.close()
print("ok")
