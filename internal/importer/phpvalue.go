package importer

import (
	"bytes"
	"strconv"
)

// unserialize reads a scalar as PHP's serialize() wrote it, and gives it as the text that a database driver would have sent: a
// string's bytes, an integer or a float in digits, 1 or 0 for true and false. The bytes of a string are those of text.
// Arrays, objects and NULL are ErrUnsupported; everything else is ErrBroken.
// https://www.php.net/manual/en/function.serialize.php
func unserialize(text []byte) ([]byte, error) {
	switch {
	case string(text) == "N;":
		return nil, ErrUnsupported
	case len(text) < 4 || text[1] != ':':
		return nil, ErrBroken
	}
	body, last := text[2:len(text)-1], text[len(text)-1]
	switch text[0] {
	case 's':
		if last == ';' {
			return unserializeString(body)
		}
	case 'i':
		if _, err := strconv.ParseInt(string(body), 10, 64); last == ';' && err == nil {
			return body, nil
		}
	case 'd':
		if _, err := strconv.ParseFloat(string(body), 64); last == ';' && err == nil && len(body) <= 32 && !bytes.ContainsAny(body, "xXpP_iInN") {
			return body, nil
		}
	case 'b':
		if last == ';' && (string(body) == "0" || string(body) == "1") {
			return body, nil
		}
	case 'a', 'O', 'C', 'E':
		return nil, ErrUnsupported
	}
	return nil, ErrBroken
}

// unserializeString reads what stands between `s:` and `;`: the length in bytes, a colon, and the bytes in quotes.
func unserializeString(body []byte) ([]byte, error) {
	digits, quoted, ok := bytes.Cut(body, []byte{':'})
	if !ok || len(digits) == 0 || len(digits) > 10 || len(quoted) < 2 {
		return nil, ErrBroken
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return nil, ErrBroken
		}
	}
	n, err := strconv.Atoi(string(digits))
	if err != nil || n != len(quoted)-2 || quoted[0] != '"' || quoted[len(quoted)-1] != '"' {
		return nil, ErrBroken
	}
	return quoted[1 : len(quoted)-1], nil
}
