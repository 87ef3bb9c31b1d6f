<?php
// Serves requests (see ../FORMAT.txt) through PDO or mysqli. Modes: pdo-emulated, pdo-native, pdo-unbuffered (native), mysqli.

error_reporting(E_ALL);
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    throw new ErrorException($text, 0, $level, $file, $line);
});

function say(string ...$fields): void
{
    echo implode("\t", $fields), "\n";
}

function rows(array $names, iterable $rows): void
{
    say('columns', ...$names);
    foreach ($rows as $row) {
        say('row', ...array_map(fn ($value) => (string) $value, array_values($row)));
    }
}

/** Reports the results of a statement of PDO, one after the other. */
function pdoResults(PDOStatement $statement): void
{
    do {
        if ($statement->columnCount() === 0) {
            say('ok');
            continue;
        }
        $names = array_map(fn ($i) => $statement->getColumnMeta($i)['name'], range(0, $statement->columnCount() - 1));
        rows($names, $statement->fetchAll(PDO::FETCH_NUM));
    } while ($statement->nextRowset());
    $statement->closeCursor();
}

function pdo(string $mode): Closure
{
    $dsn = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4', getenv('LATCHKEY_HOST'), getenv('LATCHKEY_PORT'), getenv('LATCHKEY_DATABASE'));
    $pdo = new PDO($dsn, getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => $mode === 'emulated',
        PDO::MYSQL_ATTR_USE_BUFFERED_QUERY => $mode !== 'unbuffered',
    ]);
    return function (string $how, string $sql, array $values) use ($pdo, $mode): void {
        // The server prepares one statement at a time.
        $pdo->setAttribute(PDO::ATTR_EMULATE_PREPARES, $how === 'several' || $mode === 'emulated');
        $statement = $pdo->prepare($sql);
        for ($i = 0; $i < ($how === 'twice' ? 2 : 1); $i++) {
            $statement->execute($values);
            pdoResults($statement);
        }
    };
}

function mysqliResult(mysqli_result|false $result): void
{
    if ($result === false) {
        say('ok');
        return;
    }
    rows(array_column($result->fetch_fields(), 'name'), $result->fetch_all());
    $result->free();
}

function mysqli(): Closure
{
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $db = new mysqli(getenv('LATCHKEY_HOST'), getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), getenv('LATCHKEY_DATABASE'), (int) getenv('LATCHKEY_PORT'));
    $db->set_charset('utf8mb4');
    return function (string $how, string $sql, array $values) use ($db): void {
        if ($how === 'text') {
            $result = $db->query($sql);
            mysqliResult($result === true ? false : $result);
            if ($db->more_results()) {
                say('more');
            }
        } elseif ($how === 'several') {
            $db->multi_query($sql);
            do {
                mysqliResult($db->store_result());
            } while ($db->more_results() && $db->next_result());
        } else {
            $statement = $db->prepare($sql);
            for ($i = 0; $i < ($how === 'twice' ? 2 : 1); $i++) {
                $statement->execute($values);
                do {
                    mysqliResult($statement->get_result());
                } while ($statement->more_results() && $statement->next_result());
            }
            $statement->close();
        }
    };
}

[$driver, $mode] = explode('-', $argv[1] . '-');
$run = $driver === 'pdo' ? pdo($mode) : mysqli();
while (($line = fgets(STDIN)) !== false) {
    [$how, $sql, $values] = [strtok(rtrim($line, "\n"), "\t"), strtok("\t"), []];
    while (($value = strtok("\t")) !== false) {
        $values[] = $value === '\N' ? null : $value;
    }
    try {
        $run($how, $sql, $values);
    } catch (PDOException $e) {
        say('error', $e->errorInfo[1], $e->errorInfo[0], $e->errorInfo[2]);
    } catch (mysqli_sql_exception $e) {
        say('error', $e->getCode(), $e->getSqlState(), $e->getMessage());
    }
    say('end');
}
