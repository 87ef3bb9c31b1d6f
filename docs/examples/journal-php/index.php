<?php
// A journal that several people keep on one server, each with a key of their own. README.md says how to start it.
declare(strict_types=1);

ini_set('zend.exception_ignore_args', '1'); // no text of a user in a stack trace, and so in a log

require __DIR__ . '/connection.php';
require __DIR__ . '/keys.php';
require __DIR__ . '/passwordkeys.php';
require __DIR__ . '/accountkeys.php';

/** Sets the cookie with the token or account key; an empty value deletes it. */
function remember(#[SensitiveParameter] string $cookie): void
{
    setcookie('key', $cookie, ['path' => '/', 'httponly' => true, 'samesite' => 'Strict', 'secure' => !empty($_SERVER['HTTPS'])]);
}

/** Lets a visitor in under a new session, which holds no secret, and shows what has to be written down. */
function welcome(Visitor $visitor): void
{
    session_regenerate_id(true);
    $_SESSION['user'] = $visitor->user;
    remember($visitor->cookie);
    if ($visitor->keep === '') {
        header('Location: /', true, 303);
        return;
    }
    page('<p>Write this down, it is shown only once: <code>' . htmlspecialchars($visitor->keep) . '</code></p><p><a href="/">Go on</a></p>');
}

/** Sends the visitor away from a session. */
function leave(): void
{
    $_SESSION = [];
    session_regenerate_id(true);
    remember('');
    header('Location: /', true, 303);
}

function page(string $content, int $status = 200): void
{
    http_response_code($status);
    header('Content-Type: text/html; charset=utf-8');
    echo "<!doctype html><title>Journal</title>\n$content\n";
}

function form(string $action, string ...$fields): string
{
    $inputs = '';
    foreach ($fields as $label => $name) {
        $type = in_array($name, ['secret', 'new'], true) ? 'password' : 'text';
        $inputs .= "<label>$label <input name=\"$name\" type=\"$type\" required></label> ";
    }
    return "<form method=\"post\" action=\"/$action\">$inputs"
        . "<input type=\"hidden\" name=\"csrf\" value=\"{$_SESSION['csrf']}\"><button>$action</button></form>\n";
}

/** The page of somebody who is not signed in. */
function door(string $message, int $status): void
{
    page('<p>' . htmlspecialchars($message) . '</p>'
        . form('sign-in', Email: 'email', Secret: 'secret')
        . form('sign-up', Email: 'email', Password: 'new')
        . form('recover', Email: 'email', Code: 'secret', Password: 'new'), $status);
}

/** The page of a user: all entries, or those with one title. */
function journal(PDO $pdo, int $user, ?string $title): void
{
    $where = $title === null ? '' : ' AND title = ?';
    $statement = $pdo->prepare("SELECT title, body FROM entries WHERE user_id = ?$where ORDER BY id");
    $statement->execute($title === null ? [$user] : [$user, $title]);
    $list = '';
    foreach ($statement as $entry) {
        $list .= '<dt>' . htmlspecialchars($entry['title']) . '</dt><dd>' . htmlspecialchars($entry['body']) . "</dd>\n";
    }
    page("<dl>\n$list</dl>" . form('write', Title: 'title', Text: 'body') . form('find', Title: 'title')
        . form('change', Old: 'secret', New: 'new')
        . form('delete', Secret: 'secret') . form('sign-out'));
}

/** What a user who is signed in does. */
function act(PDO $pdo, Keys $keys, int $user, string $action): void
{
    switch ($action) {
        case '/':
            journal($pdo, $user, null);
            return;
        case '/find': // a form that is posted: web servers log what is in an address
            journal($pdo, $user, $_POST['title']);
            return;
        case '/write':
            $pdo->prepare('INSERT INTO entries (user_id, title, body) VALUES (?, ?, ?)')->execute([$user, $_POST['title'], $_POST['body']]);
            header('Location: /', true, 303);
            return;
        case '/change':
            welcome($keys->change($user, $_POST['secret'], $_POST['new'] ?? ''));
            return;
        case '/sign-out':
            $keys->signOut();
            leave();
            return;
        case '/delete':
            $keys->forget($user, $_POST['secret']);
            $pdo->beginTransaction();
            $pdo->prepare('DELETE FROM entries WHERE user_id = ?')->execute([$user]);
            $pdo->prepare('DELETE FROM users WHERE id = ?')->execute([$user]);
            $pdo->commit();
            leave();
            return;
    }
    page('There is no such page.', 404);
}

session_start(['cookie_httponly' => true, 'cookie_samesite' => 'Strict', 'cookie_secure' => !empty($_SERVER['HTTPS']), 'use_strict_mode' => true]);
$_SESSION['csrf'] ??= bin2hex(random_bytes(16));
$pdo = connect();
$keys = getenv('JOURNAL_MODEL') === 'account keys' ? new AccountKeys($pdo) : new PasswordKeys($pdo);
$action = parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH);
try {
    push($pdo, null); // whatever the connection's last user left
    if ($action !== '/' && !hash_equals($_SESSION['csrf'], $_POST['csrf'] ?? '')) {
        page('This form is too old.', 403);
    } elseif ($action === '/sign-up') {
        welcome($keys->signUp($_POST['email'], $_POST['new'] ?? ''));
    } elseif ($action === '/sign-in') {
        welcome($keys->signIn($_POST['email'], $_POST['secret']));
    } elseif ($action === '/recover') {
        welcome($keys->recover($_POST['email'], $_POST['secret'], $_POST['new']));
    } elseif (isset($_SESSION['user'], $_COOKIE['key']) && $keys->resume($_SESSION['user'], $_COOKIE['key'])) {
        act($pdo, $keys, $_SESSION['user'], $action);
    } else {
        door('Please sign in.', 401);
    }
} catch (Refused $e) {
    door($e->getMessage(), 403);
} catch (PDOException $e) {
    if (code($e) !== 1062) {
        throw $e;
    }
    door('There is a journal with this address.', 409);
}
