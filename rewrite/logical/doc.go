// Package logical knows the declared (logical) types of protected columns: it parses a declaration, turns the values of a
// statement into the canonical text that is sealed, and turns canonical text back into the bytes a client expects.
//
// It never does I/O, holds no keys and never guesses: a value whose conversion MariaDB would do with rounding, cutting or a
// warning is [ErrNotPlain], and what MariaDB's strict mode refuses is a [ValueError] with MariaDB's code. Errors never quote a value.
//
// The one idea: every type has exactly one text per value (its canonical text), so that sealing, opening and comparing never
// depend on how a client wrote the value. docs/format.md lists the texts, one table per type.
//
// The rules are those of MariaDB 10.11: https://mariadb.com/kb/en/data-types/, for the wire
// https://mariadb.com/kb/en/result-set-packets/. Tests hold them against a real server.
package logical
