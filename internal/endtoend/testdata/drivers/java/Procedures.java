import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;

/** Serves requests (see ../FORMAT.txt) through Connector/J. The mode is the parameters of the JDBC address. */
public final class Procedures {
    private static final PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);

    public static void main(String[] args) throws Exception {
        String url = String.format("jdbc:mariadb://%s:%s/%s?allowMultiQueries=true&%s", System.getenv("LATCHKEY_HOST"), System.getenv("LATCHKEY_PORT"),
            System.getenv("LATCHKEY_DATABASE"), args[0]);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (Connection connection = DriverManager.getConnection(url, System.getenv("LATCHKEY_USER"), System.getenv("LATCHKEY_PASSWORD"))) {
            for (String line; (line = in.readLine()) != null; ) {
                try {
                    run(connection, line.split("\t", -1));
                } catch (SQLException e) {
                    String[] message = e.getMessage().split("\n");
                    out.print("error\t" + e.getErrorCode() + "\t" + e.getSQLState() + "\t" + message[0] + "\n");
                }
                out.print("end\n");
                out.flush();
            }
        }
    }

    private static void run(Connection connection, String[] request) throws SQLException {
        if (request[0].equals("text") || request[0].equals("several")) {
            try (Statement statement = connection.createStatement()) {
                report(statement, statement.execute(request[1]));
            }
            return;
        }
        boolean callable = request[0].equals("call");
        try (PreparedStatement statement = callable ? connection.prepareCall("{call " + request[1] + "}") : connection.prepareStatement(request[1])) {
            for (int i = 0; i < (request[0].equals("twice") ? 2 : 1); i++) {
                for (int j = 2; j < request.length; j++) {
                    statement.setString(j - 1, request[j].equals("\\N") ? null : request[j]);
                }
                report(statement, statement.execute());
            }
        }
    }

    private static void report(Statement statement, boolean rows) throws SQLException {
        for (; rows || statement.getUpdateCount() != -1; rows = statement.getMoreResults()) {
            if (!rows) {
                out.print("ok\n");
                continue;
            }
            try (ResultSet result = statement.getResultSet()) {
                int n = result.getMetaData().getColumnCount();
                out.print("columns");
                for (int i = 1; i <= n; i++) {
                    out.print("\t" + result.getMetaData().getColumnLabel(i));
                }
                out.print("\n");
                while (result.next()) {
                    out.print("row");
                    for (int i = 1; i <= n; i++) {
                        out.print("\t" + result.getString(i));
                    }
                    out.print("\n");
                }
            }
        }
    }
}
