package main

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

func checkPgx(address string) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, address)
	must(err)
	text := func(query string, args ...any) string {
		var value string
		must(conn.QueryRow(ctx, query, args...).Scan(&value))
		return value
	}
	start := text(values)
	equal("start", start, "10 20")

	// Autocommit, commit; pgx prepares each statement and keeps it.
	first := text("SELECT atone_begin('pgx')")
	equal("xid", text("SELECT atone_xid()"), first)
	tag, err := conn.Exec(ctx, "UPDATE driver SET v = v + 1 WHERE id = 1")
	must(err)
	equal("affected", tag.RowsAffected(), 1)
	equal("status", text("SELECT atone_commit()"), "committed")
	equal("values", text(values), "11 20")

	// Bound, RETURNING, a local transaction by the driver's own calls with one inside, autocommit; rollback by xid.
	before := text(allRows)
	second := text("SELECT atone_begin($1, $2)", "pgx", "30000")
	tx, err := conn.Begin(ctx)
	must(err)
	var id, v int
	var s string
	var b []byte
	must(tx.QueryRow(ctx, "UPDATE driver SET v = $1, s = $2, n = $3, b = $4 WHERE id = $5 RETURNING id, v, s, b",
		77, odd, "1.50", []byte{0, 255}, 1).Scan(&id, &v, &s, &b))
	equal("returned", s, odd)
	equal("returned", string(b), "\x00\xff")
	for number := range 8 {
		must(tx.QueryRow(ctx, "INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id", number, nil).Scan(&id))
	}
	inner, err := tx.Begin(ctx)
	must(err)
	_, err = inner.Exec(ctx, "UPDATE driver SET v = v + 1 WHERE id = $1", 2)
	must(err)
	must(inner.Commit(ctx))
	must(tx.Commit(ctx))
	must(conn.QueryRow(ctx, "DELETE FROM driver WHERE id = $1 RETURNING v", 2).Scan(&v))
	equal("returned", v, 21)
	// A batch goes out in one go.
	batch := &pgx.Batch{}
	for number := range 3 {
		batch.Queue("INSERT INTO driver (v) VALUES ($1)", number)
	}
	batch.Queue("UPDATE driver SET v = 0 WHERE id = $1", 1)
	must(conn.SendBatch(ctx, batch).Close())
	equal("rows", text("SELECT count(*)::text FROM driver"), "12")
	equal("status", text("SELECT atone_rollback($1)", second), "rolled_back")
	equal("rows", text(allRows), before)

	// The simple protocol, by which poolers are often used.
	text("SELECT atone_begin()")
	_, err = conn.Exec(ctx, "UPDATE driver SET s = $1 WHERE id = $2", pgx.QueryExecModeSimpleProtocol, odd, 1)
	must(err)
	equal("status", text("SELECT atone_rollback()"), "rolled_back")
	equal("rows", text(allRows), before)

	// An error inside a local transaction is the server's own, and takes that one back only.
	text("SELECT atone_begin()")
	tx, err = conn.Begin(ctx)
	must(err)
	_, err = tx.Exec(ctx, "UPDATE driver SET v = 55 WHERE id = $1", 1)
	must(err)
	_, err = tx.Exec(ctx, "INSERT INTO driver (id, v) VALUES ($1, $2)", 1, 1)
	state(err, "23505")
	_, err = tx.Exec(ctx, "UPDATE driver SET v = 56 WHERE id = 1")
	state(err, "25P02")
	must(tx.Rollback(ctx))
	_, err = conn.Exec(ctx, "UPDATE driver SET v = v + 1 WHERE id = $1", 2)
	must(err)
	equal("status", text("SELECT atone_commit()"), "committed")
	equal("values", text(values), "11 21")

	// A refusal is an ordinary error of the driver, and the connection goes on.
	text("SELECT atone_begin()")
	_, err = conn.Exec(ctx, "TRUNCATE driver")
	state(err, "0A000")
	equal("status", text("SELECT atone_rollback()"), "rolled_back")
	must(conn.Close(ctx))

	pool, err := pgxpool.New(ctx, address)
	must(err)
	var bound *string
	must(pool.QueryRow(ctx, "SELECT atone_xid()").Scan(&bound))
	equal("bound", bound, nil)
	pool.Close()
}
