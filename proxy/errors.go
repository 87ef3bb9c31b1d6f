package proxy

import (
	"errors"
	"os"

	"github.com/go-mysql-org/go-mysql/mysql"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// MariaDB's own numbers, for errors whose meaning is MariaDB's.
// https://mariadb.com/kb/en/mariadb-error-code-reference/
const (
	codeTooManyConnections uint16 = 1040 // ER_CON_COUNT_ERROR
	codeHandshake          uint16 = 1043 // ER_HANDSHAKE_ERROR
	codeAccessDenied       uint16 = 1045 // ER_ACCESS_DENIED_ERROR
	codeUnknownCommand     uint16 = 1047 // ER_UNKNOWN_COM_ERROR
	codeUnknown            uint16 = 1105 // ER_UNKNOWN_ERROR
	codeOutOfOrder         uint16 = 1156 // ER_NET_PACKETS_OUT_OF_ORDER
	codeMalformed          uint16 = 1835 // ER_MALFORMED_PACKET
	codeBackendGone        uint16 = 2003 // CR_CONN_HOST_ERROR: there is no server error for it
	codeInfileRefused      uint16 = 4166 // ER_LOAD_INFILE_CAPABILITY_DISABLED
)

// Errors that the session itself gives.
var (
	errTooManyConnections = mariadbFault(codeTooManyConnections, "Too many connections")
	errUnknownCommand     = mariadbFault(codeUnknownCommand, "Unknown command")
	errPacketTooLarge     = mariadbFault(codePacketTooLarge, "Got a packet bigger than 'max_allowed_packet' bytes")
	errOutOfOrder         = mariadbFault(codeOutOfOrder, "Got packets out of order")
	errMalformed          = mariadbFault(codeMalformed, "Malformed communication packet")
	errBackendUnreachable = mariadbFault(codeBackendGone, "Latchkey: the MariaDB server behind this proxy cannot be reached; see the log of Latchkey")
	errTLSRequired        = mariadbFault(codeAccessDenied, "Latchkey: this server accepts connections with TLS only; turn TLS on in the client")
	errTLSNotOffered      = mariadbFault(codeHandshake, "Latchkey: the client asked for TLS, which this server does not offer")
	errCompression        = mariadbFault(codeHandshake, "Latchkey: the client asked for compression, which this server does not offer; turn it off in the client")
	errMixedTLS           = mariadbFault(codeAccessDenied, "Latchkey: the account's authentication plugin gives the password away, so both the client's and the backend's "+
		"connection must use TLS, or neither; set listen.tls and backend.tls alike")
	errMixedSha2 = mariadbFault(codeAccessDenied, "Latchkey: caching_sha2_password needs the password itself, which can pass only when both the client's and the backend's "+
		"connection use TLS, or neither; set listen.tls and backend.tls alike")
	errOldPassword = mariadbFault(codeHandshake, "Latchkey: mysql_old_password is not supported")
	errInternal    = mariadbFault(codeUnknown, "Latchkey: internal error; see the log of Latchkey")
	errInfile      = mariadbFault(codeInfileRefused, "The used command is not allowed because the MariaDB server or client has disabled the local infile capability")
)

// mariadbFault makes a fault with a number of MariaDB's and the SQLSTATE that belongs to it.
func mariadbFault(code uint16, message string) *fault {
	return &fault{code: code, state: mariadbState(code), message: message}
}

// mariadbState is the SQLSTATE of a number of MariaDB's.
func mariadbState(code uint16) string {
	if state, ok := mysql.MySQLState[code]; ok {
		return state
	}
	return "HY000"
}

// errPacket turns an error into the ERR packet that the client gets. What is not known to be fit for
// clients becomes "internal error": its text could hold anything.
func errPacket(err error) wire.ERR {
	var f *fault
	var refusal *rewrite.Refusal
	switch {
	case errors.As(err, &f):
	case errors.As(err, &refusal):
		f = &fault{code: uint16(refusal.Code), message: refusal.Error()}
		if f.state = mariadbState(f.code); f.code > 9700 {
			f.state = ownState(f.code)
		}
	case errors.Is(err, wire.ErrTooLarge):
		f = errPacketTooLarge
	case errors.Is(err, wire.ErrSequence):
		f = errOutOfOrder
	case errors.Is(err, wire.ErrMalformed):
		f = errMalformed
	default:
		f = errInternal
	}
	return wire.ERR{Code: f.code, State: f.state, Message: f.message}
}

// fatal says whether an error ends the session: everything that happened to a connection does,
// since nobody knows any more which packet comes next.
func fatal(err error) bool {
	var io *wire.IOError
	return errors.As(err, &io)
}

// timedOut says whether a read ended by its deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
