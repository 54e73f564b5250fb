"""PyMySQL through the proxy: a commit and a rollback, by its usual interface.

Takes host, port and schema as arguments; prints `ok`. PyMySQL has no binary protocol: its parameters become text.
"""

import sys

import pymysql

host, port, schema = sys.argv[1], int(sys.argv[2]), sys.argv[3]
connection = pymysql.connect(
    host=host, port=port, user="app", password="app-password", database=schema, autocommit=True
)
cursor = connection.cursor()


def one(sql, arguments=None):
    cursor.execute(sql, arguments)
    return cursor.fetchone()[0]


def value():
    return one("SELECT v FROM driver WHERE id = 1")


start = value()

# Text, autocommit, commit.
xid = one("SELECT atone_begin('python')")
assert one("SELECT atone_xid()") == xid
assert cursor.execute("UPDATE driver SET v = v + 1 WHERE id = 1") == 1
assert one("SELECT atone_commit()") == "committed"
assert value() == start + 1, value()

# Arguments, a local transaction by the driver's own calls, rollback by xid.
xid = one("SELECT atone_begin(%s, %s)", ("python", 30000))
connection.begin()
assert cursor.execute("UPDATE driver SET v = %s, s = %s WHERE id = %s", (77, "it's \\ 😀", 1)) == 1
assert cursor.execute("INSERT INTO driver (v, s) VALUES (%s, %s)", (5, None)) == 1
inserted = cursor.lastrowid
assert inserted > 1, inserted
cursor.executemany("INSERT INTO driver (v) VALUES (%s)", [(6,), (7,), (8,)])
assert cursor.rowcount == 3, cursor.rowcount
connection.commit()
assert value() == 77
assert one("SELECT atone_rollback(%s)", (xid,)) == "rolled_back"
assert value() == start + 1, value()
assert one("SELECT COUNT(*) FROM driver WHERE id >= %s", (inserted,)) == 0

# A refusal is an ordinary error of the driver, and the connection goes on.
xid = one("SELECT atone_begin()")
try:
    cursor.execute("REPLACE INTO driver (id, v) VALUES (1, 1)")
    raise AssertionError("REPLACE was not refused")
except pymysql.err.MySQLError as error:
    assert error.args[0] == 1235, error
assert one("SELECT atone_rollback()") == "rolled_back"
connection.close()
print("ok")
