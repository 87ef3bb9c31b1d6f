// Package endtoend holds tests of the whole product: the program in front of a real MariaDB, driven as applications drive
// it, with every answer held against the same statement on plaintext. It has no code of its own.
package endtoend
