// Lets the compiler accept the function without a body in argon2id.go.
