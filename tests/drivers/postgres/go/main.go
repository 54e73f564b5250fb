// pgx (its own interface) and lib/pq (through database/sql) through the proxy: commit and rollback.
// Takes driver, host, port and schema as arguments; prints ok.
package main

import (
	"fmt"
	"os"
	"strings"
)

const odd = "it's \\ 😀 $1 %s"

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

// Every row as the server writes it, so that nothing is lost.
const allRows = "SELECT coalesce(string_agg(d::text, E'\\n' ORDER BY id), '') FROM driver d"

// The two values that the story ends with.
const values = "SELECT string_agg(v::text, ' ' ORDER BY id) FROM driver"

func state(err error, code string) {
	if err == nil || !strings.Contains(err.Error(), code) {
		panic(fmt.Sprintf("got %v, want %s", err, code))
	}
}

func main() {
	driver, host, port, schema := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	address := fmt.Sprintf("postgres://app:app-password@%s:%s/shop?sslmode=disable&search_path=%s", host, port, schema)
	switch driver {
	case "pgx":
		checkPgx(address)
	case "pq":
		checkPq(address)
	default:
		panic("no driver " + driver)
	}
	fmt.Println("ok")
}
