// node-postgres through the proxy: text and prepared (values, and by name), a commit and a rollback.
// Takes host, port and schema as arguments; prints `ok`.
'use strict';
const assert = require('node:assert');
const { Client } = require('pg');

const [host, port, schema] = process.argv.slice(2);

async function main() {
  const client = new Client({
    host, port: Number(port), user: 'app', password: 'app-password', database: 'shop', options: `-c search_path=${schema}`,
  });
  await client.connect();
  const one = async (text, values) => Object.values((await client.query(text, values)).rows[0])[0];
  const value = () => one('SELECT v FROM driver WHERE id = 1');
  const start = await value();

  // Text, autocommit, commit.
  const first = await one("SELECT atone_begin('node')");
  assert.strictEqual(await one('SELECT atone_xid()'), first);
  assert.strictEqual((await client.query('UPDATE driver SET v = v + 1 WHERE id = 1')).rowCount, 1);
  assert.strictEqual(await one('SELECT atone_commit()'), 'committed');
  assert.strictEqual(await value(), start + 1);

  // Prepared, a local transaction, rollback by xid.
  for (let round = 0; round < 2; round += 1) {
    const xid = await one('SELECT atone_begin($1, $2)', ['node', 30000]);
    await client.query('BEGIN');
    const set = await client.query('UPDATE driver SET v = $1, s = $2 WHERE id = $3', [77, Buffer.from("it's \\ 😀"), 1]);
    assert.strictEqual(set.rowCount, 1);
    const insert = { name: 'insert', text: 'INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id', values: [5, null] };
    const inserted = (await client.query(insert)).rows[0].id;
    await client.query({ ...insert, values: [6, Buffer.from([0, 255])] });
    await client.query('COMMIT');
    assert.strictEqual(await one('SELECT v FROM driver WHERE id = $1', [1]), 77);
    assert.strictEqual(await one('SELECT atone_rollback($1)', [xid]), 'rolled_back');
    assert.strictEqual(await value(), start + 1);
    assert.strictEqual(await one('SELECT count(*) FROM driver WHERE id >= $1', [inserted]), '0');
  }

  // A refusal is an ordinary error of the driver, and the connection goes on.
  await one('SELECT atone_begin()');
  await assert.rejects(client.query('TRUNCATE driver'), { code: '0A000' });
  assert.strictEqual(await one('SELECT atone_rollback()'), 'rolled_back');
  await client.end();
  console.log('ok');
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
