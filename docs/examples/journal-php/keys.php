<?php
declare(strict_types=1);

/** Somebody who may come in: the user, what the cookie holds, and what the user has to write down, which is shown once. */
final readonly class Visitor
{
    public function __construct(
        public int $user,
        #[SensitiveParameter] public string $cookie,
        #[SensitiveParameter] public string $keep = '',
    ) {
    }
}

/** What the user gave does not open the user's key. */
final class Refused extends Exception
{
}

/** How users come to their keys: one class for each of the two models. */
interface Keys
{
    public function signUp(string $email, string $password): Visitor;

    /** $secret is the password, or the account key. @throws Refused */
    public function signIn(string $email, string $secret): Visitor;

    /** Puts the key on the connection at the start of a request, and tells whether it is this user's. */
    public function resume(int $user, string $cookie): bool;

    public function signOut(): void;

    /** Replaces the password, or the account key. @throws Refused */
    public function change(int $user, string $old, string $new): Visitor;

    /** @throws Refused */
    public function recover(string $email, string $code, string $password): Visitor;

    /** Destroys what the server has of the user's key. @throws Refused */
    public function forget(int $user, string $secret): void;
}
