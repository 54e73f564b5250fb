// node-postgres through the proxy: text, bound and named prepared statements, a commit and a rollback, its pool.
// Takes host, port and schema as arguments; prints `ok`.
'use strict';
const assert = require('node:assert');
const { Client, Pool } = require('pg');

const [host, port, schema] = process.argv.slice(2);
const where = {
  host, port: Number(port), user: 'app', password: 'app-password', database: 'shop',
  options: `-c search_path=${schema}`,
};
const odd = "it's \\ 😀 $1 %s";

async function main() {
  const client = new Client(where);
  await client.connect();
  const all = async (text, values) => (await client.query({ text, values, rowMode: 'array' })).rows;
  const one = async (text, values) => (await all(text, values))[0][0];
  const rows = () => all('SELECT id, v, s, n, b FROM driver ORDER BY id');
  const start = await rows();

  // Text, autocommit, commit.
  const first = await one("SELECT atone_begin('node')");
  assert.strictEqual(await one('SELECT atone_xid()'), first);
  assert.strictEqual((await client.query('UPDATE driver SET v = v + 1 WHERE id = 1')).rowCount, 1);
  assert.strictEqual(await one('SELECT atone_commit()'), 'committed');
  assert.strictEqual((await rows())[0][1], start[0][1] + 1);

  // Bound and prepared, RETURNING, a local transaction, autocommit; rollback by xid.
  const before = await rows();
  const second = await one('SELECT atone_begin($1, $2)', ['node', 30000]);
  await client.query('BEGIN');
  const changed = await all(
    'UPDATE driver SET v = $1, s = $2, n = $3, b = $4 WHERE id = $5 RETURNING id, v, s, b',
    [77, odd, '1.50', Buffer.from([0, 255]), 1],
  );
  assert.deepStrictEqual(changed, [[1, 77, odd, Buffer.from([0, 255])]]);
  const ids = [];
  for (let number = 0; number < 8; number += 1) {
    const insert = { name: 'insert', text: 'INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id', values: [number, null] };
    ids.push((await client.query(insert)).rows[0].id);
  }
  assert.ok(Math.min(...ids) > 2 && new Set(ids).size === 8);
  await client.query('SAVEPOINT one');
  await client.query('UPDATE driver SET v = v + 1 WHERE id = $1', [2]);
  await client.query('RELEASE SAVEPOINT one');
  await client.query('COMMIT');
  assert.strictEqual(await one('DELETE FROM driver WHERE id = $1 RETURNING v', [2]), start[1][1] + 1);
  assert.strictEqual(await one('SELECT count(*)::int FROM driver'), 9);
  assert.strictEqual(await one('SELECT atone_rollback($1)', [second]), 'rolled_back');
  assert.deepStrictEqual(await rows(), before);

  // An error inside a local transaction is the server's own, and takes that one back only.
  await one('SELECT atone_begin()');
  await client.query('BEGIN');
  await client.query('UPDATE driver SET v = 55 WHERE id = $1', [1]);
  await assert.rejects(client.query('INSERT INTO driver (id, v) VALUES ($1, $2)', [1, 1]), { code: '23505' });
  await assert.rejects(client.query('UPDATE driver SET v = 56 WHERE id = 1'), { code: '25P02' });
  await client.query('ROLLBACK');
  await client.query('UPDATE driver SET v = v + 1 WHERE id = $1', [2]);
  assert.strictEqual(await one('SELECT atone_commit()'), 'committed');
  assert.deepStrictEqual((await rows()).map((row) => row[1]), [start[0][1] + 1, start[1][1] + 1]);

  // A refusal is an ordinary error of the driver, and the connection goes on.
  await one('SELECT atone_begin()');
  await assert.rejects(client.query('TRUNCATE driver'), { code: '0A000', message: /^atone: / });
  assert.strictEqual(await one('SELECT atone_rollback()'), 'rolled_back');
  await client.end();

  // Its pool resets nothing; whoever begins on a borrowed connection ends there, and the next one finds it unbound.
  const pool = new Pool({ ...where, max: 1 });
  const borrowed = await pool.connect();
  await borrowed.query('SELECT atone_begin()');
  await borrowed.query('UPDATE driver SET v = $1 WHERE id = $2', [0, 1]);
  await borrowed.query('SELECT atone_rollback()');
  borrowed.release();
  assert.strictEqual((await pool.query('SELECT atone_xid() AS bound')).rows[0].bound, null);
  await pool.end();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
