<?php
// Holds a conversation (see ../FORMAT.txt) through PDO or mysqli.
// Modes: pdo-emulated, pdo-native, pdo-unbuffered (native), mysqli (get_result), mysqli-bind (bind_result).

error_reporting(E_ALL);
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    throw new ErrorException($text, 0, $level, $file, $line);
});

interface Driver
{
    /** @return array{0: list<array<string, mixed>>|null, 1: int, 2: int} rows or null, affected, insert id */
    public function text(string $sql): array;

    /** Prepares once and executes with each set of arguments. */
    public function loop(string $sql, array $sets): iterable;

    public function transaction(string $verb): void;
}

final class PdoDriver implements Driver
{
    private PDO $pdo;

    public function __construct(bool $emulate, bool $buffer)
    {
        $dsn = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4', getenv('LATCHKEY_HOST'), getenv('LATCHKEY_PORT'), getenv('LATCHKEY_DATABASE'));
        $this->pdo = new PDO($dsn, getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), [
            PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
            PDO::ATTR_EMULATE_PREPARES => $emulate,
            PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => $buffer,
            PDO::ATTR_DEFAULT_FETCH_MODE => PDO::FETCH_ASSOC,
        ]);
    }

    public function text(string $sql): array
    {
        return $this->answer($this->pdo->query($sql));
    }

    public function loop(string $sql, array $sets): iterable
    {
        $statement = $this->pdo->prepare($sql);
        foreach ($sets as $set) {
            foreach ($set as $i => [$type, $value]) {
                $statement->bindValue($i + 1, $value, match ($type) {
                    'i' => PDO::PARAM_INT,
                    'n' => PDO::PARAM_NULL,
                    'b' => PDO::PARAM_LOB,
                    default => PDO::PARAM_STR,
                });
            }
            $statement->execute();
            yield $this->answer($statement);
        }
    }

    public function transaction(string $verb): void
    {
        match ($verb) {
            'begin' => $this->pdo->beginTransaction(),
            'commit' => $this->pdo->commit(),
            'rollback' => $this->pdo->rollBack(),
        };
    }

    private function answer(PDOStatement $statement): array
    {
        if ($statement->columnCount() > 0) {
            $rows = $statement->fetchAll();
            if ($statement->errorCode() !== '00000') {
                // Unbuffered, PDO ends the rows at an error and throws nothing.
                $error = new PDOException();
                $error->errorInfo = $statement->errorInfo();
                throw $error;
            }
            return [$rows, 0, 0];
        }
        return [null, $statement->rowCount(), (int) $this->pdo->lastInsertId()];
    }
}

final class MysqliDriver implements Driver
{
    private mysqli $db;

    public function __construct(private bool $bindResult)
    {
        mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
        $this->db = new mysqli(getenv('LATCHKEY_HOST'), getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), getenv('LATCHKEY_DATABASE'), (int) getenv('LATCHKEY_PORT'));
        $this->db->set_charset('utf8mb4');
    }

    public function text(string $sql): array
    {
        $result = $this->db->query($sql);
        if ($result === true) {
            return [null, $this->db->affected_rows, $this->db->insert_id];
        }
        return [$result->fetch_all(MYSQLI_ASSOC), 0, 0];
    }

    public function loop(string $sql, array $sets): iterable
    {
        $statement = $this->db->prepare($sql);
        $bound = array_fill(0, count($sets[0]), null);
        $types = '';
        foreach ($sets[0] as [$type]) {
            $types .= match ($type) {
                'i' => 'i',
                'f' => 'd',
                'l' => 'b',
                default => 's',
            };
        }
        // Bound once: the loop only changes the variables.
        $statement->bind_param($types, ...$bound);
        foreach ($sets as $set) {
            foreach ($set as $i => [$type, $value]) {
                if ($type !== 'l') {
                    $bound[$i] = $value;
                    continue;
                }
                foreach (str_split($value, 100000) as $piece) {
                    $statement->send_long_data($i, $piece);
                }
            }
            $statement->execute();
            yield $this->answer($statement);
        }
        $statement->close();
    }

    public function transaction(string $verb): void
    {
        match ($verb) {
            'begin' => $this->db->begin_transaction(),
            'commit' => $this->db->commit(),
            'rollback' => $this->db->rollback(),
        };
    }

    private function answer(mysqli_stmt $statement): array
    {
        if ($statement->field_count === 0) {
            return [null, $statement->affected_rows, $statement->insert_id];
        }
        if (!$this->bindResult) {
            return [$statement->get_result()->fetch_all(MYSQLI_ASSOC), 0, 0];
        }
        $names = array_column($statement->result_metadata()->fetch_fields(), 'name');
        $values = array_fill(0, count($names), null);
        $statement->bind_result(...$values);
        $rows = [];
        while ($statement->fetch()) {
            $row = [];
            foreach ($values as $i => $value) {
                $row[$names[$i]] = $value;
            }
            $rows[] = $row;
        }
        $statement->free_result();
        return [$rows, 0, 0];
    }
}

function argument(string $field): array
{
    [$type, $value] = explode(':', $field, 2);
    return [$type, match ($type) {
        'i' => (int) $value,
        'f' => (float) $value,
        'n' => null,
        'b' => hex2bin($value),
        'k' => getenv('LATCHKEY_KEY_' . strtoupper($value)),
        'l' => str_repeat("zebra é✓ 'q' \\\n", (int) $value),
        default => $value,
    }];
}

function show(string $name, mixed $value): string
{
    if ($value === null) {
        return '\N';
    }
    $value = (string) $value;
    if ($name === 'data') {
        return bin2hex($value);
    }
    if (strlen($value) <= 1000) {
        return $value;
    }
    $sum = 0;
    foreach (unpack('C*', $value) as $byte) {
        $sum = ($sum * 31 + $byte) % 2147483647;
    }
    return sprintf('len=%d sum=%d', strlen($value), $sum);
}

function report(string $verb, string $label, array $answer): string
{
    [$rows, $affected, $id] = $answer;
    if ($rows === null) {
        return "$label\taffected=$affected" . ($verb === 'insert' ? " id=$id" : '') . "\n";
    }
    $text = '';
    foreach ($rows as $row) {
        $text .= implode("\t", [$label, ...array_map('show', array_keys($row), $row)]) . "\n";
    }
    return $text;
}

/** Repeats the list of values of an INSERT and joins the sets. */
function several(string $sql, array $sets): array
{
    $list = substr($sql, strpos($sql, 'VALUES ') + strlen('VALUES '));
    return [$sql . str_repeat(', ' . $list, count($sets) - 1), array_merge(...$sets)];
}

function step(Driver $driver, string $verb, string $label, string $sql, array $sets): string
{
    switch ($verb) {
        case 'text':
            return report($verb, $label, $driver->text($sql));
        case 'batch':
            [$sql, $set] = several($sql, $sets);
            foreach ($driver->loop($sql, [$set]) as $_);
            return "$label\tdone\n";
        case 'bound':
        case 'insert':
        case 'loop':
            $text = '';
            foreach ($driver->loop($sql, $sets) as $answer) {
                $text .= report($verb, $label, $answer);
            }
            return $text;
    }
    $driver->transaction($verb);
    return "$label\tdone\n";
}

$driver = match ($argv[1]) {
    'pdo-emulated' => new PdoDriver(true, true),
    'pdo-native' => new PdoDriver(false, true),
    'pdo-unbuffered' => new PdoDriver(false, false),
    'mysqli' => new MysqliDriver(false),
    'mysqli-bind' => new MysqliDriver(true),
};
$steps = [];
foreach (array_slice($argv, 2) as $file) {
    foreach (file($file, FILE_IGNORE_NEW_LINES) as $line) {
        if ($line[0] === "\t") {
            $steps[array_key_last($steps)][3][] = array_map('argument', explode("\t", substr($line, 1)));
        } else {
            [$verb, $label, $sql] = explode("\t", $line) + [2 => ''];
            $steps[] = [$verb, $label, $sql, []];
        }
    }
}
foreach ($steps as [$verb, $label, $sql, $sets]) {
    try {
        echo step($driver, $verb, $label, $sql, $sets);
    } catch (PDOException $e) {
        echo "$label\terror={$e->errorInfo[1]}\n";
    } catch (mysqli_sql_exception $e) {
        echo "$label\terror={$e->getCode()}\n";
    }
}
