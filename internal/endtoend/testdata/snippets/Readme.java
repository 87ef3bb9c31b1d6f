// The README's two ways of pushing a key with Connector/J.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import javax.sql.DataSource;
import org.mariadb.jdbc.MariaDbDataSource;

public final class Readme {
    private static final String password = System.getenv("LATCHKEY_PASSWORD");
    private static String user;

    public static void main(String[] args) throws Exception {
        user = args[1];
        attribute(System.getenv("LATCHKEY_KEY"));
        MariaDbDataSource pool = new MariaDbDataSource("jdbc:mariadb://127.0.0.1:3307/journal");
        pool.setUser("app");
        pool.setPassword(password);
        for (String key : new String[] {System.getenv("LATCHKEY_KEY"), null, "LK1-NONSENSE", System.getenv("LATCHKEY_OTHER_KEY")}) {
            try {
                pushed(pool, key);
            } catch (SQLException e) {
                System.out.println(e.getErrorCode());
            }
        }
    }

    private static void attribute(String key) throws SQLException {
        // snippet: README.md: String url = "jdbc:mariadb://127.0.0.1:3307/journal?connectionAttributes
        try (Connection c = DriverManager.getConnection(url, "app", password);
             PreparedStatement insert = c.prepareStatement("INSERT INTO entries (user_id, title, body) VALUES (?, 'kept', 'text')")) {
            insert.setString(1, user);
            insert.execute();
            read(c);
        }
    }

    private static void pushed(DataSource pool, String key) throws SQLException {
        // snippet: README.md: try (Connection c = pool.getConnection()) {
    }

    private static void read(Connection c) throws SQLException {
        try (PreparedStatement select = c.prepareStatement("SELECT title, body FROM entries WHERE user_id = ?")) {
            select.setString(1, user);
            try (ResultSet row = select.executeQuery()) {
                row.next();
                System.out.println(row.getString(1) + " " + row.getString(2));
            }
        }
    }
}
