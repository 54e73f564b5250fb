// pgx and lib/pq through database/sql: text and prepared statements, a commit and a rollback; and pgx by its own interface.
// Takes the driver's name, host, port and schema as arguments; prints ok.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "github.com/lib/pq"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](what string, got, want T) {
	if got != want {
		panic(fmt.Sprintf("%s: got %v, want %v", what, got, want))
	}
}

func main() {
	driver := os.Args[1]
	url := fmt.Sprintf("postgres://app:app-password@%s:%s/shop?sslmode=disable&search_path=%s", os.Args[2], os.Args[3], os.Args[4])
	db, err := sql.Open(driver, url)
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
	value := func() int {
		var v int
		must(conn.QueryRowContext(ctx, "SELECT v FROM driver WHERE id = 1").Scan(&v))
		return v
	}
	start := value()

	// Text, autocommit, commit.
	first := text("SELECT atone_begin('go')")
	equal("xid", text("SELECT atone_xid()"), first)
	result, err := conn.ExecContext(ctx, "UPDATE driver SET v = v + 1 WHERE id = 1")
	must(err)
	affected, _ := result.RowsAffected()
	equal("affected", affected, 1)
	equal("status", text("SELECT atone_commit()"), "committed")
	equal("value", value(), start+1)

	// Arguments make it prepare; a local transaction by the driver's own calls, rollback by xid.
	second := text("SELECT atone_begin($1, $2)", "go", "30000")
	tx, err := conn.BeginTx(ctx, nil)
	must(err)
	_, err = tx.ExecContext(ctx, "UPDATE driver SET v = $1, s = $2 WHERE id = $3", 77, []byte("it's \\ 😀"), 1)
	must(err)
	insert, err := tx.PrepareContext(ctx, "INSERT INTO driver (v, s) VALUES ($1, $2) RETURNING id")
	must(err)
	var id int
	must(insert.QueryRowContext(ctx, 5, nil).Scan(&id))
	must(insert.QueryRowContext(ctx, 6, []byte{0, 255}).Scan(&id))
	must(tx.Commit())
	equal("value", value(), 77)
	equal("status", text("SELECT atone_rollback($1)", second), "rolled_back")
	equal("value", value(), start+1)
	equal("rows left", text("SELECT count(*) FROM driver WHERE id = $1", id), "0")

	// A refusal is an ordinary error of the driver, and the connection goes on.
	text("SELECT atone_begin()")
	_, err = conn.ExecContext(ctx, "TRUNCATE driver")
	if err == nil || !strings.Contains(err.Error(), "atone: ") {
		panic(fmt.Sprintf("TRUNCATE was not refused: %v", err))
	}
	equal("status", text("SELECT atone_rollback()"), "rolled_back")
	must(conn.Close())
	if driver == "pgx" {
		native(ctx, url, start+1)
	}
	fmt.Println("ok")
}

// pgx by its own interface: statements in a batch travel as one pipeline.
func native(ctx context.Context, url string, start int) {
	conn, err := pgx.Connect(ctx, url)
	must(err)
	var xid, status string
	must(conn.QueryRow(ctx, "SELECT atone_begin('batch')").Scan(&xid))
	batch := &pgx.Batch{}
	for n := 0; n < 10; n++ {
		batch.Queue("INSERT INTO driver (v) VALUES ($1)", n)
	}
	batch.Queue("UPDATE driver SET v = $1 WHERE id = 1", 99)
	must(conn.SendBatch(ctx, batch).Close())
	var value int
	must(conn.QueryRow(ctx, "SELECT v FROM driver WHERE id = 1").Scan(&value))
	equal("value", value, 99)
	must(conn.QueryRow(ctx, "SELECT atone_rollback()").Scan(&status))
	equal("status", status, "rolled_back")
	must(conn.QueryRow(ctx, "SELECT v FROM driver WHERE id = 1").Scan(&value))
	equal("value", value, start)
	must(conn.Close(ctx))
}
