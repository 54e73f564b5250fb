// pgjdbc through the proxy: text and prepared statements, batches, a commit and a rollback.
// Takes host, port and schema as arguments; prints ok.

import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Savepoint;

public class Check {
    static Connection connection;

    static Object one(String sql, Object... arguments) throws SQLException {
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            for (int at = 0; at < arguments.length; at++) statement.setObject(at + 1, arguments[at]);
            try (ResultSet rows = statement.executeQuery()) {
                rows.next();
                return rows.getObject(1);
            }
        }
    }

    static void equal(Object got, Object want) {
        if (!got.equals(want)) throw new AssertionError("got " + got + ", want " + want);
    }

    public static void main(String[] args) throws Exception {
        // Ways of the driver: prepared on the server from the first use on, and batches made one statement.
        for (String mode : new String[] {"prepareThreshold=1", "reWriteBatchedInserts=true"}) {
            String url = "jdbc:postgresql://" + args[0] + ":" + args[1] + "/shop?sslmode=disable&currentSchema=" + args[2] + "&" + mode;
            connection = DriverManager.getConnection(url, "app", "app-password");
            check();
            connection.close();
        }
        System.out.println("ok");
    }

    static void check() throws SQLException {
        int start = (int) one("SELECT v FROM driver WHERE id = 1");
        Object xid = one("SELECT atone_begin('java')");
        equal(one("SELECT atone_xid()"), xid);
        equal(connection.createStatement().executeUpdate("UPDATE driver SET v = v + 1 WHERE id = 1"), 1);
        equal(one("SELECT atone_commit()"), "committed");
        equal(one("SELECT v FROM driver WHERE id = 1"), start + 1);

        for (int round = 0; round < 3; round++) {
            xid = one("SELECT atone_begin(?, ?)", "java", "30000");
            connection.setAutoCommit(false);
            PreparedStatement update = connection.prepareStatement("UPDATE driver SET v = ?, s = ? WHERE id = ?");
            update.setInt(1, 77);
            update.setBytes(2, new byte[] {0, (byte) 255, '\\'});
            update.setInt(3, 1);
            equal(update.executeUpdate(), 1);
            PreparedStatement insert =
                connection.prepareStatement("INSERT INTO driver (v) VALUES (?)", new String[] {"id"});
            insert.setInt(1, 5);
            equal(insert.executeUpdate(), 1);
            ResultSet keys = insert.getGeneratedKeys();
            keys.next();
            int id = keys.getInt(1);
            PreparedStatement batch = connection.prepareStatement("INSERT INTO driver (v) VALUES (?)");
            for (int n = 0; n < 20; n++) {
                batch.setInt(1, n);
                batch.addBatch();
            }
            equal(batch.executeBatch().length, 20);
            Savepoint savepoint = connection.setSavepoint();
            connection.createStatement().executeUpdate("DELETE FROM driver WHERE id = 1");
            connection.rollback(savepoint);
            connection.commit();
            connection.setAutoCommit(true);
            equal(one("SELECT v FROM driver WHERE id = ?", 1), 77);
            equal(one("SELECT atone_rollback(?)", xid), "rolled_back");
            equal(one("SELECT v FROM driver WHERE id = 1"), start + 1);
            equal(one("SELECT count(*) FROM driver WHERE id >= ?", id), 0L);
        }

        one("SELECT atone_begin()");
        try {
            connection.createStatement().execute("TRUNCATE driver");
            throw new AssertionError("TRUNCATE was not refused");
        } catch (SQLException error) {
            equal(error.getSQLState(), "0A000");
        }
        equal(one("SELECT atone_rollback()"), "rolled_back");
    }
}
