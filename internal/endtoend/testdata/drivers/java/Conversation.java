import java.io.StringReader;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;

/** Holds a conversation (see ../FORMAT.txt) through Connector/J. The mode is the parameters of the JDBC address. */
public final class Conversation {
    private record Step(String verb, String label, String sql, List<String[]> sets) {}

    private final Connection connection;

    private Conversation(Connection connection) {
        this.connection = connection;
    }

    public static void main(String[] args) throws Exception {
        String url = String.format("jdbc:mariadb://%s:%s/%s?%s", System.getenv("LATCHKEY_HOST"), System.getenv("LATCHKEY_PORT"),
            System.getenv("LATCHKEY_DATABASE"), args[0]);
        try (Connection connection = DriverManager.getConnection(url, System.getenv("LATCHKEY_USER"), System.getenv("LATCHKEY_PASSWORD"))) {
            Conversation conversation = new Conversation(connection);
            StringBuilder report = new StringBuilder();
            for (Step step : read(args)) {
                try {
                    report.append(conversation.run(step));
                } catch (SQLException e) {
                    if (e.getErrorCode() <= 0) {
                        throw e;
                    }
                    report.append(step.label).append("\terror=").append(e.getErrorCode()).append('\n');
                }
            }
            System.out.write(report.toString().getBytes(StandardCharsets.UTF_8));
            System.out.flush();
        }
    }

    private static List<Step> read(String[] args) throws Exception {
        List<Step> steps = new ArrayList<>();
        for (int i = 1; i < args.length; i++) {
            for (String line : Files.readAllLines(Path.of(args[i]))) {
                String[] fields = line.split("\t", -1);
                if (fields[0].isEmpty()) {
                    String[] set = new String[fields.length - 1];
                    System.arraycopy(fields, 1, set, 0, set.length);
                    steps.get(steps.size() - 1).sets.add(set);
                } else {
                    steps.add(new Step(fields[0], fields[1], fields.length > 2 ? fields[2] : "", new ArrayList<>()));
                }
            }
        }
        return steps;
    }

    private String run(Step step) throws SQLException {
        switch (step.verb) {
            case "text":
                try (Statement statement = connection.createStatement()) {
                    return report(step, statement, statement.execute(step.sql));
                }
            case "begin":
                connection.setAutoCommit(false);
                break;
            case "commit":
                connection.commit();
                connection.setAutoCommit(true);
                break;
            case "rollback":
                connection.rollback();
                connection.setAutoCommit(true);
                break;
            case "batch":
                try (PreparedStatement statement = connection.prepareStatement(step.sql)) {
                    for (String[] set : step.sets) {
                        bind(statement, set);
                        statement.addBatch();
                    }
                    statement.executeBatch();
                }
                break;
            default:
                StringBuilder text = new StringBuilder();
                int keys = step.verb.equals("insert") ? Statement.RETURN_GENERATED_KEYS : Statement.NO_GENERATED_KEYS;
                try (PreparedStatement statement = connection.prepareStatement(step.sql, keys)) {
                    for (String[] set : step.sets) {
                        bind(statement, set);
                        text.append(report(step, statement, statement.execute()));
                    }
                }
                return text.toString();
        }
        return step.label + "\tdone\n";
    }

    private static void bind(PreparedStatement statement, String[] set) throws SQLException {
        for (int i = 0; i < set.length; i++) {
            String value = set[i].substring(2);
            switch (set[i].charAt(0)) {
                case 'i' -> statement.setLong(i + 1, Long.parseLong(value));
                case 'm' -> statement.setBigDecimal(i + 1, new BigDecimal(value));
                case 'f' -> statement.setDouble(i + 1, Double.parseDouble(value));
                case 'b' -> statement.setBytes(i + 1, octets(value));
                case 'd' -> statement.setDate(i + 1, Date.valueOf(value));
                case 't' -> statement.setTimestamp(i + 1, Timestamp.valueOf(value));
                case 'n' -> statement.setNull(i + 1, Types.VARCHAR);
                case 'k' -> statement.setString(i + 1, System.getenv("LATCHKEY_KEY_" + value.toUpperCase()));
                case 'l' -> statement.setCharacterStream(i + 1, new StringReader("zebra \u00e9\u2713 'q' \\\n".repeat(Integer.parseInt(value))));
                default -> statement.setString(i + 1, value);
            }
        }
    }

    private static byte[] octets(String hex) {
        byte[] octets = new byte[hex.length() / 2];
        for (int i = 0; i < octets.length; i++) {
            octets[i] = (byte) Integer.parseInt(hex.substring(2 * i, 2 * i + 2), 16);
        }
        return octets;
    }

    private static String report(Step step, Statement statement, boolean rows) throws SQLException {
        StringBuilder text = new StringBuilder();
        if (!rows) {
            text.append(step.label).append("\taffected=").append(statement.getUpdateCount());
            if (step.verb.equals("insert")) {
                try (ResultSet keys = statement.getGeneratedKeys()) {
                    keys.next();
                    text.append(" id=").append(keys.getLong(1));
                }
            }
            return text.append('\n').toString();
        }
        try (ResultSet result = statement.getResultSet()) {
            while (result.next()) {
                text.append(step.label);
                for (int i = 1; i <= result.getMetaData().getColumnCount(); i++) {
                    text.append('\t').append(show(result, i));
                }
                text.append('\n');
            }
        }
        return text.toString();
    }

    private static String show(ResultSet result, int column) throws SQLException {
        if (result.getMetaData().getColumnLabel(column).equals("data")) {
            byte[] value = result.getBytes(column);
            if (value == null) {
                return "\\N";
            }
            StringBuilder hex = new StringBuilder();
            for (byte octet : value) {
                hex.append(String.format("%02x", octet));
            }
            return hex.toString();
        }
        String value = result.getString(column);
        if (value == null) {
            return "\\N";
        }
        byte[] octets = value.getBytes(StandardCharsets.UTF_8);
        if (octets.length <= 1000) {
            return value;
        }
        long sum = 0;
        for (byte octet : octets) {
            sum = (sum * 31 + (octet & 0xff)) % 2147483647;
        }
        return "len=" + octets.length + " sum=" + sum;
    }
}
