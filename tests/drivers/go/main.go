// go-sql-driver through database/sql: text and prepared statements, a commit and a rollback.
// Takes host, port and schema as arguments; prints ok.
package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"

	"github.com/go-sql-driver/mysql"
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
	config := mysql.NewConfig()
	config.Net, config.Addr = "tcp", os.Args[1]+":"+os.Args[2]
	config.User, config.Passwd, config.DBName = "app", "app-password", os.Args[3]
	db, err := sql.Open("mysql", config.FormatDSN())
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

	// Prepared (arguments make database/sql prepare), a local transaction by the driver's own calls, rollback by xid.
	second := text("SELECT atone_begin(?, ?)", "go", 30000)
	tx, err := conn.BeginTx(ctx, nil)
	must(err)
	_, err = tx.ExecContext(ctx, "UPDATE driver SET v = ?, s = ? WHERE id = ?", 77, "it's \\ 😀", 1)
	must(err)
	insert, err := tx.PrepareContext(ctx, "INSERT INTO driver (v, s) VALUES (?, ?)")
	must(err)
	result, err = insert.ExecContext(ctx, 5, nil)
	must(err)
	id, _ := result.LastInsertId()
	_, err = insert.ExecContext(ctx, 6, []byte{0, 255})
	must(err)
	must(tx.Commit())
	equal("value", value(), 77)
	equal("status", text("SELECT atone_rollback(?)", second), "rolled_back")
	equal("value", value(), start+1)
	equal("rows left", text("SELECT COUNT(*) FROM driver WHERE id >= ?", id), "0")

	// A refusal is an ordinary error of the driver, and the connection goes on.
	text("SELECT atone_begin()")
	_, err = conn.ExecContext(ctx, "REPLACE INTO driver (id, v) VALUES (?, ?)", 1, 1)
	var refused *mysql.MySQLError
	if !errors.As(err, &refused) || refused.Number != 1235 {
		panic(fmt.Sprintf("REPLACE was not refused: %v", err))
	}
	equal("status", text("SELECT atone_rollback()"), "rolled_back")
	must(conn.Close())
	fmt.Println("ok")
}
