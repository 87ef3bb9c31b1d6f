<?php
// The README's way of pushing a key: through PDO or Laravel, by argument.
declare(strict_types=1);

[$password, $key] = [getenv('LATCHKEY_PASSWORD'), getenv('LATCHKEY_KEY')];
if ($argv[1] === 'laravel') {
    error_reporting(E_ALL & ~E_DEPRECATED); // Debian's Illuminate is older than its PHP
    require __DIR__ . '/laravel.php';
    // snippet: README.md: DB::connection()->getPdo()->prepare
    $pdo = DB::connection()->getPdo();
    echo count(DB::getQueryLog()), " statements in the log\n";
} else {
    // snippet: README.md: $pdo = new PDO('mysql:host=127.0.0.1;port=3307
}
$pdo->prepare('INSERT INTO entries (user_id, title, body) VALUES (?, ?, ?)')->execute([$argv[2], 'kept', 'text']);
$read = $pdo->prepare('SELECT title, body FROM entries WHERE user_id = ?');
$read->execute([$argv[2]]);
echo implode(' ', $read->fetch(PDO::FETCH_NUM)), "\n";
