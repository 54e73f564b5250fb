// pgjdbc through the proxy: plain, bound and server-prepared statements, batches, a commit and a rollback.
// Takes host, port and schema as arguments; prints ok.

import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;
import java.util.Objects;

public final class Check {
    private static final String ODD = "it's \\ 😀 %s";
    private static final String VALUES = "SELECT string_agg(v::text, ' ' ORDER BY id) FROM driver";
    // Every row as the server writes it, so that nothing is lost.
    private static final String ROWS = "SELECT string_agg(d::text, chr(10) ORDER BY id) FROM driver d";

    private final Connection connection;

    private Check(Connection connection) {
        this.connection = connection;
    }

    private interface Action {
        void run() throws SQLException;
    }

    private static void equal(String what, Object got, Object wanted) {
        if (!Objects.equals(got, wanted)) {
            throw new AssertionError(what + ": got " + got + ", want " + wanted);
        }
    }

    private static SQLException fails(String state, Action action) {
        try {
            action.run();
        } catch (SQLException error) {
            equal("state of " + error, error.getSQLState(), state);
            return error;
        }
        throw new AssertionError("no error, want " + state);
    }

    private PreparedStatement prepared(String sql, Object... values) throws SQLException {
        PreparedStatement statement = connection.prepareStatement(sql);
        for (int index = 0; index < values.length; index += 1) {
            statement.setObject(index + 1, values[index]);
        }
        return statement;
    }

    private String one(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = prepared(sql, values); ResultSet rows = statement.executeQuery()) {
            rows.next();
            return rows.getString(1);
        }
    }

    private int update(String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = prepared(sql, values)) {
            return statement.executeUpdate();
        }
    }

    private void all() throws SQLException {
        equal("start", one(VALUES), "10 20");

        // Plain, autocommit, commit.
        String first = one("SELECT atone_begin('jdbc')");
        equal("xid", one("SELECT atone_xid()"), first);
        try (Statement statement = connection.createStatement()) {
            equal("affected", statement.executeUpdate("UPDATE driver SET v = v + 1 WHERE id = 1"), 1);
        }
        equal("status", one("SELECT atone_commit()"), "committed");
        equal("values", one(VALUES), "11 20");

        // Bound, prepared at the server after five times, RETURNING, batch, savepoint; rollback by xid.
        String before = one(ROWS);
        String second = one("SELECT atone_begin(?, ?)", "jdbc", 30000);
        connection.setAutoCommit(false);
        String set = "UPDATE driver SET v = ?, s = ?, n = ?, b = ? WHERE id = ? RETURNING id, v, s, b";
        try (PreparedStatement statement = prepared(set, 77, ODD, new BigDecimal("1.50"), new byte[] {0, -1}, 1);
                ResultSet rows = statement.executeQuery()) {
            rows.next();
            equal("returned", rows.getInt(2), 77);
            equal("returned", rows.getString(3), ODD);
            equal("returned", Arrays.toString(rows.getBytes(4)), "[0, -1]");
        }
        inserts();
        var savepoint = connection.setSavepoint();
        update("UPDATE driver SET v = v + 1 WHERE id = ?", 2);
        connection.rollback(savepoint);
        update("UPDATE driver SET v = v + 2 WHERE id = ?", 2);
        connection.commit();
        connection.setAutoCommit(true);
        equal("returned", one("DELETE FROM driver WHERE id = ? RETURNING v", 2), "22");
        equal("rows", one("SELECT count(*) FROM driver"), "12");
        equal("status", one("SELECT atone_rollback(?)", second), "rolled_back");
        equal("rows", one(ROWS), before);

        // An error inside a local transaction is the server's own, and takes that one back only.
        one("SELECT atone_begin()");
        connection.setAutoCommit(false);
        update("UPDATE driver SET v = 55 WHERE id = ?", 1);
        fails("23505", () -> update("INSERT INTO driver (id, v) VALUES (?, ?)", 1, 1));
        fails("25P02", () -> update("UPDATE driver SET v = 56 WHERE id = ?", 1));
        connection.rollback();
        connection.setAutoCommit(true);
        update("UPDATE driver SET v = v + 1 WHERE id = ?", 2);
        equal("status", one("SELECT atone_commit()"), "committed");
        equal("values", one(VALUES), "11 21");

        // A refusal is an ordinary error of the driver, and the connection goes on.
        one("SELECT atone_begin()");
        SQLException refused = fails("0A000", () -> update("TRUNCATE driver"));
        equal("sentence", refused.getMessage().contains("atone: "), true);
        equal("status", one("SELECT atone_rollback()"), "rolled_back");
    }

    private void inserts() throws SQLException {
        String insert = "INSERT INTO driver (v, s) VALUES (?, ?)";
        // The driver adds RETURNING by itself to learn the keys.
        try (PreparedStatement statement = connection.prepareStatement(insert, new String[] {"id"})) {
            for (int number = 0; number < 8; number += 1) {
                statement.setInt(1, number);
                statement.setString(2, null);
                equal("affected", statement.executeUpdate(), 1);
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    keys.next();
                    equal("a new key", keys.getInt(1) > 2, true);
                }
            }
        }
        try (PreparedStatement statement = connection.prepareStatement(insert)) {
            for (int number = 0; number < 3; number += 1) {
                statement.setInt(1, number);
                statement.setString(2, ODD);
                statement.addBatch();
            }
            equal("affected", Arrays.toString(statement.executeBatch()), "[1, 1, 1]");
        }
    }

    public static void main(String[] arguments) throws SQLException {
        String url = String.format(
                "jdbc:postgresql://%s:%s/shop?currentSchema=%s", arguments[0], arguments[1], arguments[2]);
        try (Connection connection = DriverManager.getConnection(url, "app", "app-password")) {
            new Check(connection).all();
        }
        System.out.println("ok");
    }
}
