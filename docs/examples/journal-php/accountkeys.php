<?php
declare(strict_types=1);

/**
 * The user keeps an account key and gives it at each sign-in; nothing of it is stored. users.key_id says whose a key is:
 * it is derived from the key, and no secret.
 */
final class AccountKeys implements Keys
{
    public function __construct(private PDO $pdo)
    {
    }

    public function signUp(string $email, #[SensitiveParameter] string $password = ''): Visitor
    {
        $key = call($this->pdo, 'CALL latchkey.new_key()')['account_key'];
        push($this->pdo, $key);
        $this->pdo->prepare('INSERT INTO users (email, key_id) VALUES (?, ?)')->execute([$email, $this->keyID()]);
        return new Visitor((int) $this->pdo->lastInsertId(), $key, $key);
    }

    public function signIn(string $email, #[SensitiveParameter] string $secret): Visitor
    {
        $user = userOf($this->pdo, $email)['id'] ?? 0;
        if (!$this->resume($user, $secret)) {
            throw new Refused('That did not open the journal.');
        }
        return new Visitor($user, $secret);
    }

    public function resume(int $user, #[SensitiveParameter] string $cookie): bool
    {
        try {
            push($this->pdo, $cookie);
        } catch (PDOException $e) {
            if (code($e) === 9706) {
                return false; // no key, or a mistyped one
            }
            throw $e;
        }
        $statement = $this->pdo->prepare('SELECT 1 FROM users WHERE id = ? AND key_id = ?');
        $statement->execute([$user, $this->keyID()]);
        return $statement->fetch() !== false;
    }

    public function signOut(): void
    {
        call($this->pdo, 'CALL latchkey.lock()');
    }

    /** A new key means that every cell is written anew: under the old key it is read, under the new one it is inserted. */
    public function change(int $user, #[SensitiveParameter] string $old, #[SensitiveParameter] string $new = ''): Visitor
    {
        if (!$this->resume($user, $old)) {
            throw new Refused('That is not the key of this journal.');
        }
        $key = call($this->pdo, 'CALL latchkey.new_key()')['account_key'];
        $this->pdo->beginTransaction();
        $statement = $this->pdo->prepare('SELECT id, user_id, title, body, created FROM entries WHERE user_id = ? FOR UPDATE');
        $statement->execute([$user]);
        $entries = $statement->fetchAll(PDO::FETCH_NUM);
        $this->pdo->prepare('DELETE FROM entries WHERE user_id = ?')->execute([$user]);
        push($this->pdo, $key);
        $insert = $this->pdo->prepare('INSERT INTO entries (id, user_id, title, body, created) VALUES (?, ?, ?, ?, ?)');
        foreach ($entries as $entry) {
            $insert->execute($entry);
        }
        $this->pdo->prepare('UPDATE users SET key_id = ? WHERE id = ?')->execute([$this->keyID(), $user]);
        $this->pdo->commit();
        return new Visitor($user, $key, $key);
    }

    public function recover(string $email, #[SensitiveParameter] string $code, #[SensitiveParameter] string $password): Visitor
    {
        throw new Refused('Nobody but you has the key: without it the journal stays closed.');
    }

    public function forget(int $user, #[SensitiveParameter] string $secret): void
    {
        if (!$this->resume($user, $secret)) {
            throw new Refused('That is not the key of this journal.');
        }
    }

    private function keyID(): string
    {
        return call($this->pdo, 'CALL latchkey.status()')['sealing_key_id'];
    }
}
