package main

import (
	"context"
	"database/sql"
	"errors"

	"github.com/lib/pq"
)

func pqState(err error, code string) {
	var refused *pq.Error
	if !errors.As(err, &refused) || string(refused.Code) != code {
		panic(err)
	}
}

func checkPq(address string) {
	db, err := sql.Open("postgres", address)
	must(err)
	defer db.Close()
	ctx := context.Background()
	// A global transaction is bound to a session, so one connection is held.
	conn, err := db.Conn(ctx)
	must(err)
	text := func(query string, args ...any) string {
		var value string
		must(conn.QueryRowContext(ctx, query, args...).Scan(&value))
		return value
	}
	run := func(query string, args ...any) {
		_, err := conn.ExecContext(ctx, query, args...)
		must(err)
	}
	equal("start", text(values), "10 20")

	// Text, autocommit, commit.
	first := text("SELECT atone_begin('pq')")
	equal("xid", text("SELECT atone_xid()"), first)
	result, err := conn.ExecContext(ctx, "UPDATE driver SET v = v + 1 WHERE id = 1")
	must(err)
	affected, _ := result.RowsAffected()
	equal("affected", affected, 1)
	equal("status", text("SELECT atone_commit()"), "committed")
	equal("values", text(values), "11 20")

	// Bound and prepared, RETURNING, a local transaction by the driver's own calls, autocommit; rollback by xid.
	before := text(allRows)
	second := text("SELECT atone_begin($1, $2)", "pq", 30000)
	tx, err := conn.BeginTx(ctx, nil)
	must(err)
	var id, v int
	var s string
	var b []byte
	must(tx.QueryRowContext(ctx,
		"UPDATE driver SET v = $1, s = $2, n = $3, b = $4 WHERE id = $5 RETURNING id, v, s, b",
		77, odd, "1.50", []byte{0, 255}, 1).Scan(&id, &v, &s, &b))
	equal("returned", s, odd)
	equal("returned", string(b), "\x00\xff")
	insert, err := tx.PrepareContext(ctx, "INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id")
	must(err)
	for number := range 8 {
		must(insert.QueryRowContext(ctx, number, nil).Scan(&id))
	}
	must(insert.Close())
	_, err = tx.ExecContext(ctx, "UPDATE driver SET v = v + 1 WHERE id = $1", 2)
	must(err)
	must(tx.Commit())
	must(conn.QueryRowContext(ctx, "DELETE FROM driver WHERE id = $1 RETURNING v", 2).Scan(&v))
	equal("returned", v, 21)
	equal("rows", text("SELECT count(*) FROM driver"), "9")
	equal("status", text("SELECT atone_rollback($1)", second), "rolled_back")
	equal("rows", text(allRows), before)

	// An error inside a local transaction is the server's own, and takes that one back only.
	text("SELECT atone_begin()")
	tx, err = conn.BeginTx(ctx, nil)
	must(err)
	_, err = tx.ExecContext(ctx, "UPDATE driver SET v = 55 WHERE id = $1", 1)
	must(err)
	_, err = tx.ExecContext(ctx, "INSERT INTO driver (id, v) VALUES ($1, $2)", 1, 1)
	pqState(err, "23505")
	must(tx.Rollback())
	run("UPDATE driver SET v = v + 1 WHERE id = $1", 2)
	equal("status", text("SELECT atone_commit()"), "committed")
	equal("values", text(values), "11 21")

	// A refusal is an ordinary error of the driver, and the connection goes on.
	text("SELECT atone_begin()")
	_, err = conn.ExecContext(ctx, "TRUNCATE driver")
	pqState(err, "0A000")
	equal("status", text("SELECT atone_rollback()"), "rolled_back")
	must(conn.Close())
}
