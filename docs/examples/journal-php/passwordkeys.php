<?php
declare(strict_types=1);

/**
 * The user's key is in Latchkey's keystore, wrapped under the user's password. The application stores no secret: the cookie
 * holds a token, and the password need not be hashed here, since it opens the key or does not.
 */
final class PasswordKeys implements Keys
{
    public function __construct(private PDO $pdo)
    {
    }

    public function signUp(string $email, #[SensitiveParameter] string $password): Visitor
    {
        $this->pdo->beginTransaction();
        $this->pdo->prepare('INSERT INTO users (email) VALUES (?)')->execute([$email]);
        $row = call($this->pdo, 'CALL latchkey.enroll(?, ?)', [$this->pdo->lastInsertId(), $password]);
        $this->pdo->commit();
        return $this->visitor($row);
    }

    public function signIn(string $email, #[SensitiveParameter] string $secret): Visitor
    {
        // An unknown address is tried like a wrong password, so that it cannot be told apart.
        $user = userOf($this->pdo, $email)['id'] ?? 0;
        return $this->enter('CALL latchkey.unlock(?, ?)', [$user, $secret]);
    }

    public function resume(int $user, #[SensitiveParameter] string $cookie): bool
    {
        try {
            push($this->pdo, $cookie);
        } catch (PDOException $e) {
            if (in_array(code($e), [9706, 9708], true)) {
                return false; // no token, expired or revoked: sign in again
            }
            throw $e;
        }
        return call($this->pdo, 'CALL latchkey.status()')['owner'] === (string) $user;
    }

    public function signOut(): void
    {
        call($this->pdo, 'CALL latchkey.lock()'); // revokes the token
    }

    public function change(int $user, #[SensitiveParameter] string $old, #[SensitiveParameter] string $new): Visitor
    {
        return $this->enter('CALL latchkey.change_password(?, ?, ?)', [$user, $old, $new]);
    }

    public function recover(string $email, #[SensitiveParameter] string $code, #[SensitiveParameter] string $password): Visitor
    {
        $user = userOf($this->pdo, $email)['id'] ?? 0;
        return $this->enter('CALL latchkey.recover(?, ?, ?)', [$user, $code, $password]);
    }

    public function forget(int $user, #[SensitiveParameter] string $secret): void
    {
        $this->enter('CALL latchkey.unlock(?, ?)', [$user, $secret]);
        call($this->pdo, 'CALL latchkey.forget(?)', [$user]);
    }

    private function enter(string $sql, #[SensitiveParameter] array $values): Visitor
    {
        try {
            return $this->visitor(call($this->pdo, $sql, $values));
        } catch (PDOException $e) {
            throw match (code($e)) {
                9706, 9707 => new Refused('That did not open the journal.'),
                9709 => new Refused('Too many attempts: wait a while.'),
                default => $e,
            };
        }
    }

    private function visitor(#[SensitiveParameter] array $row): Visitor
    {
        return new Visitor((int) $row['owner'], $row['token'], $row['recovery_code'] ?? '');
    }
}
