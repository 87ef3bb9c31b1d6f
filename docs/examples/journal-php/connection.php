<?php
declare(strict_types=1);

/** Opens the journal's connection. It is persistent: the next request of this worker, of whichever user, gets it again. */
function connect(): PDO
{
    $pdo = new PDO(getenv('JOURNAL_DSN'), getenv('JOURNAL_LOGIN'), getenv('JOURNAL_PASSWORD'), [
        PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION,
        PDO::ATTR_EMULATE_PREPARES => false,
        PDO::ATTR_PERSISTENT => true,
    ]);
    // No key stays on a connection that waits for its next request.
    register_shutdown_function(fn () => push($pdo, null));
    return $pdo;
}

/** Replaces the key on the connection; null takes it away. After a push that failed there is none. */
function push(PDO $pdo, #[SensitiveParameter] ?string $key): void
{
    try {
        $pdo->prepare('SET @latchkey = ?')->execute([$key]);
    } catch (PDOException $e) {
        $pdo->exec('SET @latchkey = NULL');
        throw $e;
    }
}

/** Calls a procedure of Latchkey and gives its row. */
function call(PDO $pdo, string $sql, #[SensitiveParameter] array $values = []): array
{
    $statement = $pdo->prepare($sql);
    $statement->execute($values);
    $row = $statement->fetch(PDO::FETCH_ASSOC);
    $statement->closeCursor();
    return $row;
}

/** The number of an error: docs/errors.md lists Latchkey's own. */
function code(PDOException $e): int
{
    return (int) ($e->errorInfo[1] ?? 0);
}

/** The user with an address, or null. */
function userOf(PDO $pdo, string $email): ?array
{
    $statement = $pdo->prepare('SELECT id, key_id FROM users WHERE email = ?');
    $statement->execute([$email]);
    return $statement->fetch(PDO::FETCH_ASSOC) ?: null;
}
