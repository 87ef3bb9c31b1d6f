<?php
// Calls every procedure: through PDO (emulated, native) or Laravel, by argument.
declare(strict_types=1);

error_reporting(E_ALL);
set_error_handler(function (int $level, string $text, string $file, int $line): bool {
    // Debian's Illuminate is older than its PHP.
    return str_starts_with($file, '/usr/share/php/') ? true : throw new ErrorException($text, 0, $level, $file, $line);
});
[$how, $user, $friend] = [$argv[1], $argv[2], $argv[3]];
[$password, $newPassword, $secret, $otherKey] = ['pass word', 'new pass word', str_repeat('0f', 32), getenv('LATCHKEY_KEY')];

if ($how === 'laravel') {
    require __DIR__ . '/laravel.php';
    $pdo = DB::connection()->getPdo();
    // snippet: docs/keys.md: $call = function (string $sql, mixed ...$values): array {
    // snippet: docs/keys.md: final class PushKey
} else {
    $pdo = new PDO('mysql:host=127.0.0.1;port=3307;dbname=journal;charset=utf8mb4', 'app', getenv('LATCHKEY_PASSWORD'),
        [PDO::ATTR_ERRMODE => PDO::ERRMODE_EXCEPTION, PDO::ATTR_EMULATE_PREPARES => $how === 'emulated']);
    // snippet: docs/keys.md: $call = function (string $sql, mixed ...$values) use ($pdo): array {
}

// snippet: docs/keys.md: [$enrolled] = $call(

echo implode("\n", [
    $status['owner'] === $user ? 'status' : '', $unlocked['key_id'] === $enrolled['key_id'] ? 'unlocked' : '',
    $changed['recovery_code'] === '' ? 'changed' : '', $recovered['recovery_code'] !== $enrolled['recovery_code'] ? 'recovered' : '',
    $renewed['recovery_code'] !== $recovered['recovery_code'] ? 'renewed' : '', $rotated['old_key_id'] === $enrolled['key_id'] ? 'rotated' : '',
    $forgotten['owner'] === $user ? 'forgotten' : '', $call('CALL latchkey.status()')[0]['keys'] . ' keys',
]), "\n";

if ($how === 'laravel') {
    $request = new class($unlocked['key_id'] === '' ? '' : getenv('LATCHKEY_KEY')) {
        public function __construct(private string $key)
        {
        }

        public function session(): object
        {
            return new class($this->key) {
                public function __construct(private string $key)
                {
                }

                public function get(string $name): ?string
                {
                    return $name === 'key' ? $this->key : null;
                }
            };
        }
    };
    $within = (new PushKey())->handle($request, fn () => $call('CALL latchkey.status()')[0]['keys']);
    echo "$within in the request, {$call('CALL latchkey.status()')[0]['keys']} behind it\n";
    echo count(DB::getQueryLog()), " statements in the log\n";
}
