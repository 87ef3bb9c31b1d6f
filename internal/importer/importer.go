// Package importer opens values that an application encrypted by itself before Latchkey came, so that they can be sealed as cells.
// It only opens: nothing here encrypts. It knows no database and stores nothing; what it opens belongs to the caller, who wipes it.
//
// A value is opened only if it is authentic under one of the keys. What does not look like a value of that kind is told apart from
// what does and cannot be opened, since a column may hold both: values from before the application encrypted, and damaged ones.
package importer

import "errors"

// Importer opens the values of one way of encrypting. It is used by one goroutine at a time.
type Importer interface {
	// Open gives the value in clear, which the caller wipes. owner is whose row it is, where hasOwner says that it is known.
	// The error is ErrOther, ErrKey, ErrBroken or ErrUnsupported; none holds anything of the value.
	Open(stored []byte, owner string, hasOwner bool) ([]byte, error)
	// Close wipes the keys.
	Close()
}

var (
	// ErrOther says that a value is not of the importer's kind at all.
	ErrOther = errors.New("the value is not one that the application encrypted")
	// ErrKey says that no key is known for the owner.
	ErrKey = errors.New("there is no application key for the row's owner")
	// ErrBroken says that a value looks like one of the importer's kind and is not authentic under any of the keys.
	ErrBroken = errors.New("the value was encrypted under another key, or is damaged")
	// ErrUnsupported says that a value was opened and is none that a column can hold, such as an array.
	ErrUnsupported = errors.New("the encrypted value is not a text, a number or a truth value")
)
