// mysql2 through the proxy: text (query) and prepared (execute), a commit and a rollback.
// Takes host, port and schema as arguments; prints `ok`.
'use strict';
const assert = require('node:assert');
const mysql = require('mysql2/promise');

const [host, port, database] = process.argv.slice(2);

async function main() {
  const connection = await mysql.createConnection({
    host, port: Number(port), user: 'app', password: 'app-password', database,
  });
  const one = async (sql, values) => {
    const [rows] = values ? await connection.execute(sql, values) : await connection.query(sql);
    return Object.values(rows[0])[0];
  };
  const value = () => one('SELECT v FROM driver WHERE id = 1');
  const start = await value();

  // Text, autocommit, commit.
  const first = await one("SELECT atone_begin('node')");
  assert.strictEqual(await one('SELECT atone_xid()'), first);
  const [updated] = await connection.query('UPDATE driver SET v = v + 1 WHERE id = 1');
  assert.strictEqual(updated.affectedRows, 1);
  assert.strictEqual(await one('SELECT atone_commit()'), 'committed');
  assert.strictEqual(await value(), start + 1);

  // Prepared, a local transaction by the driver's own calls, rollback by xid.
  const second = await one("SELECT atone_begin('node', 30000)");
  await connection.beginTransaction();
  const [set] = await connection.execute('UPDATE driver SET v = ?, s = ? WHERE id = ?', [77, "it's \\ 😀", 1]);
  assert.strictEqual(set.affectedRows, 1);
  const [inserted] = await connection.execute('INSERT INTO driver (v, s) VALUES (?, ?)', [5, null]);
  assert.ok(inserted.insertId > 1);
  await connection.commit();
  assert.strictEqual(await one('SELECT v FROM driver WHERE id = ?', [1]), 77);
  assert.strictEqual(await one('SELECT atone_rollback(?)', [second]), 'rolled_back');
  assert.strictEqual(await value(), start + 1);
  assert.strictEqual(await one('SELECT COUNT(*) FROM driver WHERE id = ?', [inserted.insertId]), 0);

  // A refusal is an ordinary error of the driver, and the connection goes on.
  await one('SELECT atone_begin()');
  await assert.rejects(connection.execute('REPLACE INTO driver (id, v) VALUES (?, ?)', [1, 1]), { errno: 1235 });
  assert.strictEqual(await one('SELECT atone_rollback()'), 'rolled_back');
  await connection.end();

  // A pool resets or reuses connections; each borrowed one must start unbound.
  const pool = mysql.createPool({
    host, port: Number(port), user: 'app', password: 'app-password', database, connectionLimit: 2,
  });
  const [[row]] = await pool.query('SELECT atone_xid() AS xid');
  assert.strictEqual(row.xid, null);
  await pool.end();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
