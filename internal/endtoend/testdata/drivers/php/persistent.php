<?php
// Serves requests over HTTP, a JSON object each, on a persistent connection of PDO (/pdo) or mysqli (/mysqli).

error_reporting(E_ALL);
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    throw new ErrorException($text, 0, $level, $file, $line);
});

function pdo(): Closure
{
    $dsn = sprintf('mysql:host=%s;port=%s;dbname=%s;charset=utf8mb4', getenv('LATCHKEY_HOST'), getenv('LATCHKEY_PORT'), getenv('LATCHKEY_DATABASE'));
    $pdo = new PDO($dsn, getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => false,
        PDO::ATTR_PERSISTENT => true,
    ]);
    return function (string $sql, array $values = []) use ($pdo): array|int {
        $statement = $pdo->prepare($sql);
        $statement->execute($values);
        return $statement->columnCount() > 0 ? $statement->fetchAll(PDO::FETCH_NUM) : $statement->rowCount();
    };
}

function mysqli(): Closure
{
    mysqli_report(MYSQLI_REPORT_ERROR | MYSQLI_REPORT_STRICT);
    $db = new mysqli('p:' . getenv('LATCHKEY_HOST'), getenv('LATCHKEY_USER'), getenv('LATCHKEY_PASSWORD'), getenv('LATCHKEY_DATABASE'), (int) getenv('LATCHKEY_PORT'));
    return function (string $sql, array $values = []) use ($db): array|int {
        $statement = $db->prepare($sql);
        $statement->execute($values);
        return $statement->field_count > 0 ? $statement->get_result()->fetch_all() : $statement->affected_rows;
    };
}

function serve(Closure $run, array $request): array
{
    $answer = ['connection' => (string) $run('SELECT CONNECTION_ID()')[0][0]];
    try {
        if ($request['push'] === 'none') {
            $run('SET @latchkey = NULL');
        } elseif ($request['push'] !== '') {
            $run('SET @latchkey = ?', [getenv('LATCHKEY_KEY_' . strtoupper($request['push'])) ?: $request['push']]);
        }
        $result = $run($request['sql'], $request['values']);
        $answer['result'] = is_array($result) ? implode('; ', array_map(fn ($row) => implode(' ', $row), $result)) : "affected=$result";
    } catch (PDOException $e) {
        $answer['result'] = "error={$e->errorInfo[1]}";
    } catch (mysqli_sql_exception $e) {
        $answer['result'] = "error={$e->getCode()}";
    }
    if ($request['forget']) {
        $run('SET @latchkey = NULL');
    }
    return $answer;
}

$run = match ($_SERVER['REQUEST_URI']) {
    '/pdo' => pdo(),
    '/mysqli' => mysqli(),
};
header('Content-Type: application/json');
echo json_encode(serve($run, json_decode(file_get_contents('php://input'), true, 8, JSON_THROW_ON_ERROR)), JSON_THROW_ON_ERROR);
