package wire

import (
	"strconv"

	"github.com/go-mysql-org/go-mysql/mysql"
)

// Command is the first byte of a request.
type Command uint8

// Commands. https://mariadb.com/kb/en/2-text-protocol/ and
// https://mariadb.com/kb/en/3-binary-protocol-prepared-statements/
const (
	ComSleep           Command = Command(mysql.COM_SLEEP)
	ComQuit            Command = Command(mysql.COM_QUIT)
	ComInitDB          Command = Command(mysql.COM_INIT_DB)
	ComQuery           Command = Command(mysql.COM_QUERY)
	ComFieldList       Command = Command(mysql.COM_FIELD_LIST)
	ComCreateDB        Command = Command(mysql.COM_CREATE_DB)
	ComDropDB          Command = Command(mysql.COM_DROP_DB)
	ComRefresh         Command = Command(mysql.COM_REFRESH)
	ComShutdown        Command = Command(mysql.COM_SHUTDOWN)
	ComStatistics      Command = Command(mysql.COM_STATISTICS)
	ComProcessInfo     Command = Command(mysql.COM_PROCESS_INFO)
	ComConnect         Command = Command(mysql.COM_CONNECT)
	ComProcessKill     Command = Command(mysql.COM_PROCESS_KILL)
	ComDebug           Command = Command(mysql.COM_DEBUG)
	ComPing            Command = Command(mysql.COM_PING)
	ComTime            Command = Command(mysql.COM_TIME)
	ComDelayedInsert   Command = Command(mysql.COM_DELAYED_INSERT)
	ComChangeUser      Command = Command(mysql.COM_CHANGE_USER)
	ComBinlogDump      Command = Command(mysql.COM_BINLOG_DUMP)
	ComTableDump       Command = Command(mysql.COM_TABLE_DUMP)
	ComConnectOut      Command = Command(mysql.COM_CONNECT_OUT)
	ComRegisterSlave   Command = Command(mysql.COM_REGISTER_SLAVE)
	ComStmtPrepare     Command = Command(mysql.COM_STMT_PREPARE)
	ComStmtExecute     Command = Command(mysql.COM_STMT_EXECUTE)
	ComStmtSendLong    Command = Command(mysql.COM_STMT_SEND_LONG_DATA)
	ComStmtClose       Command = Command(mysql.COM_STMT_CLOSE)
	ComStmtReset       Command = Command(mysql.COM_STMT_RESET)
	ComSetOption       Command = Command(mysql.COM_SET_OPTION)
	ComStmtFetch       Command = Command(mysql.COM_STMT_FETCH)
	ComDaemon          Command = Command(mysql.COM_DAEMON)
	ComBinlogDumpGTID  Command = Command(mysql.COM_BINLOG_DUMP_GTID)
	ComResetConnection Command = Command(mysql.COM_RESET_CONNECTION)
	ComStmtBulkExecute Command = 0xfa // MariaDB only; go-mysql has no name for it
)

// String names the command as MariaDB does, without COM_.
func (c Command) String() string {
	switch c {
	case ComQuit:
		return "QUIT"
	case ComInitDB:
		return "INIT_DB"
	case ComQuery:
		return "QUERY"
	case ComFieldList:
		return "FIELD_LIST"
	case ComRefresh:
		return "REFRESH"
	case ComShutdown:
		return "SHUTDOWN"
	case ComStatistics:
		return "STATISTICS"
	case ComProcessInfo:
		return "PROCESS_INFO"
	case ComProcessKill:
		return "PROCESS_KILL"
	case ComDebug:
		return "DEBUG"
	case ComPing:
		return "PING"
	case ComChangeUser:
		return "CHANGE_USER"
	case ComBinlogDump:
		return "BINLOG_DUMP"
	case ComRegisterSlave:
		return "REGISTER_SLAVE"
	case ComStmtPrepare:
		return "STMT_PREPARE"
	case ComStmtExecute:
		return "STMT_EXECUTE"
	case ComStmtSendLong:
		return "STMT_SEND_LONG_DATA"
	case ComStmtClose:
		return "STMT_CLOSE"
	case ComStmtReset:
		return "STMT_RESET"
	case ComSetOption:
		return "SET_OPTION"
	case ComStmtFetch:
		return "STMT_FETCH"
	case ComResetConnection:
		return "RESET_CONNECTION"
	case ComStmtBulkExecute:
		return "STMT_BULK_EXECUTE"
	}
	return strconv.Itoa(int(c))
}

// Capabilities are the capability flags of a connection: the 32 bits shared with MySQL below, and
// MariaDB's extended flags in the bits from 32 up.
// https://mariadb.com/kb/en/connection/#capabilities
type Capabilities uint64

// Capability flags.
const (
	// CapMySQL (CLIENT_LONG_PASSWORD in MySQL) is clear when the peer speaks MariaDB's extended flags.
	CapMySQL            = Capabilities(mysql.CLIENT_LONG_PASSWORD)
	CapFoundRows        = Capabilities(mysql.CLIENT_FOUND_ROWS)
	CapLongFlag         = Capabilities(mysql.CLIENT_LONG_FLAG)
	CapConnectWithDB    = Capabilities(mysql.CLIENT_CONNECT_WITH_DB)
	CapNoSchema         = Capabilities(mysql.CLIENT_NO_SCHEMA)
	CapCompress         = Capabilities(mysql.CLIENT_COMPRESS)
	CapODBC             = Capabilities(mysql.CLIENT_ODBC)
	CapLocalFiles       = Capabilities(mysql.CLIENT_LOCAL_FILES)
	CapIgnoreSpace      = Capabilities(mysql.CLIENT_IGNORE_SPACE)
	CapProtocol41       = Capabilities(mysql.CLIENT_PROTOCOL_41)
	CapInteractive      = Capabilities(mysql.CLIENT_INTERACTIVE)
	CapSSL              = Capabilities(mysql.CLIENT_SSL)
	CapIgnoreSigpipe    = Capabilities(mysql.CLIENT_IGNORE_SIGPIPE)
	CapTransactions     = Capabilities(mysql.CLIENT_TRANSACTIONS)
	CapReserved         = Capabilities(mysql.CLIENT_RESERVED)
	CapSecureConnection = Capabilities(mysql.CLIENT_SECURE_CONNECTION)
	CapMultiStatements  = Capabilities(mysql.CLIENT_MULTI_STATEMENTS)
	CapMultiResults     = Capabilities(mysql.CLIENT_MULTI_RESULTS)
	CapPSMultiResults   = Capabilities(mysql.CLIENT_PS_MULTI_RESULTS)
	CapPluginAuth       = Capabilities(mysql.CLIENT_PLUGIN_AUTH)
	CapConnectAttrs     = Capabilities(mysql.CLIENT_CONNECT_ATTRS)
	CapLenencAuth       = Capabilities(mysql.CLIENT_PLUGIN_AUTH_LENENC_CLIENT_DATA)
	CapExpiredPasswords = Capabilities(mysql.CLIENT_CAN_HANDLE_EXPIRED_PASSWORDS)
	CapSessionTrack     = Capabilities(mysql.CLIENT_SESSION_TRACK)
	CapDeprecateEOF     = Capabilities(mysql.CLIENT_DEPRECATE_EOF)
	CapOptionalMetadata = Capabilities(mysql.CLIENT_OPTIONAL_RESULTSET_METADATA)
	CapZstd             = Capabilities(mysql.CLIENT_ZSTD_COMPRESSION_ALGORITHM)
	CapQueryAttributes  = Capabilities(mysql.CLIENT_QUERY_ATTRIBUTES)
	CapMultiFactorAuth  = Capabilities(mysql.MULTI_FACTOR_AUTHENTICATION)
	CapExtension        = Capabilities(mysql.CLIENT_CAPABILITY_EXTENSION)
	CapSSLVerify        = Capabilities(mysql.CLIENT_SSL_VERIFY_SERVER_CERT)
	CapRememberOptions  = Capabilities(mysql.CLIENT_REMEMBER_OPTIONS)

	// MariaDB's extended flags, MARIADB_CLIENT_* in include/mysql_com.h.

	CapProgress         Capabilities = 1 << 32
	CapComMulti         Capabilities = 1 << 33
	CapBulkOperations   Capabilities = 1 << 34
	CapExtendedMetadata Capabilities = 1 << 35
	CapCacheMetadata    Capabilities = 1 << 36
	CapBulkUnitResults  Capabilities = 1 << 37
)

// Has says whether all the flags of want are set.
func (c Capabilities) Has(want Capabilities) bool { return c&want == want }

// StatusFlags is the server status of an OK or EOF packet.
// https://mariadb.com/kb/en/ok_packet/#server-status-flag
type StatusFlags uint16

// Server status flags.
const (
	StatusInTransaction      = StatusFlags(mysql.SERVER_STATUS_IN_TRANS)
	StatusAutocommit         = StatusFlags(mysql.SERVER_STATUS_AUTOCOMMIT)
	StatusMoreResults        = StatusFlags(mysql.SERVER_MORE_RESULTS_EXISTS)
	StatusNoGoodIndex        = StatusFlags(mysql.SERVER_STATUS_NO_GOOD_INDEX_USED)
	StatusNoIndex            = StatusFlags(mysql.SERVER_STATUS_NO_INDEX_USED)
	StatusCursorExists       = StatusFlags(mysql.SERVER_STATUS_CURSOR_EXISTS)
	StatusLastRowSent        = StatusFlags(mysql.SERVER_STATUS_LAST_ROW_SEND)
	StatusDBDropped          = StatusFlags(mysql.SERVER_STATUS_DB_DROPPED)
	StatusNoBackslashEscapes = StatusFlags(mysql.SERVER_STATUS_NO_BACKSLASH_ESCAPED)
	StatusMetadataChanged    = StatusFlags(mysql.SERVER_STATUS_METADATA_CHANGED)
	StatusQuerySlow          = StatusFlags(mysql.SERVER_QUERY_WAS_SLOW)
	StatusPSOutParams        = StatusFlags(mysql.SERVER_PS_OUT_PARAMS)
	StatusReadOnly           = StatusFlags(mysql.SERVER_STATUS_IN_TRANS_READONLY)
	StatusSessionChanged     = StatusFlags(mysql.SERVER_SESSION_STATE_CHANGED)
	// StatusANSIQuotes is MariaDB's SERVER_STATUS_ANSI_QUOTES.
	StatusANSIQuotes StatusFlags = 0x8000
)

// Has says whether all the flags of want are set.
func (f StatusFlags) Has(want StatusFlags) bool { return f&want == want }

// ColumnType is the type byte of a column definition or a parameter.
// https://mariadb.com/kb/en/result-set-packets/#field-types
type ColumnType uint8

// Column types.
const (
	TypeDecimal    = ColumnType(mysql.MYSQL_TYPE_DECIMAL)
	TypeTiny       = ColumnType(mysql.MYSQL_TYPE_TINY)
	TypeShort      = ColumnType(mysql.MYSQL_TYPE_SHORT)
	TypeLong       = ColumnType(mysql.MYSQL_TYPE_LONG)
	TypeFloat      = ColumnType(mysql.MYSQL_TYPE_FLOAT)
	TypeDouble     = ColumnType(mysql.MYSQL_TYPE_DOUBLE)
	TypeNull       = ColumnType(mysql.MYSQL_TYPE_NULL)
	TypeTimestamp  = ColumnType(mysql.MYSQL_TYPE_TIMESTAMP)
	TypeLongLong   = ColumnType(mysql.MYSQL_TYPE_LONGLONG)
	TypeInt24      = ColumnType(mysql.MYSQL_TYPE_INT24)
	TypeDate       = ColumnType(mysql.MYSQL_TYPE_DATE)
	TypeTime       = ColumnType(mysql.MYSQL_TYPE_TIME)
	TypeDatetime   = ColumnType(mysql.MYSQL_TYPE_DATETIME)
	TypeYear       = ColumnType(mysql.MYSQL_TYPE_YEAR)
	TypeNewDate    = ColumnType(mysql.MYSQL_TYPE_NEWDATE)
	TypeVarchar    = ColumnType(mysql.MYSQL_TYPE_VARCHAR)
	TypeBit        = ColumnType(mysql.MYSQL_TYPE_BIT)
	TypeTimestamp2 = ColumnType(mysql.MYSQL_TYPE_TIMESTAMP2)
	TypeDatetime2  = ColumnType(mysql.MYSQL_TYPE_DATETIME2)
	TypeTime2      = ColumnType(mysql.MYSQL_TYPE_TIME2)
	TypeJSON       = ColumnType(mysql.MYSQL_TYPE_JSON)
	TypeNewDecimal = ColumnType(mysql.MYSQL_TYPE_NEWDECIMAL)
	TypeEnum       = ColumnType(mysql.MYSQL_TYPE_ENUM)
	TypeSet        = ColumnType(mysql.MYSQL_TYPE_SET)
	TypeTinyBlob   = ColumnType(mysql.MYSQL_TYPE_TINY_BLOB)
	TypeMediumBlob = ColumnType(mysql.MYSQL_TYPE_MEDIUM_BLOB)
	TypeLongBlob   = ColumnType(mysql.MYSQL_TYPE_LONG_BLOB)
	TypeBlob       = ColumnType(mysql.MYSQL_TYPE_BLOB)
	TypeVarString  = ColumnType(mysql.MYSQL_TYPE_VAR_STRING)
	TypeString     = ColumnType(mysql.MYSQL_TYPE_STRING)
	TypeGeometry   = ColumnType(mysql.MYSQL_TYPE_GEOMETRY)
)

// ColumnFlags are the flags of a column definition.
// https://mariadb.com/kb/en/result-set-packets/#field-details-flag
type ColumnFlags uint16

// Column flags.
const (
	FlagNotNull       ColumnFlags = mysql.NOT_NULL_FLAG
	FlagPrimaryKey    ColumnFlags = mysql.PRI_KEY_FLAG
	FlagUniqueKey     ColumnFlags = mysql.UNIQUE_KEY_FLAG
	FlagMultipleKey   ColumnFlags = 8
	FlagBlob          ColumnFlags = mysql.BLOB_FLAG
	FlagUnsigned      ColumnFlags = mysql.UNSIGNED_FLAG
	FlagZerofill      ColumnFlags = mysql.ZEROFILL_FLAG
	FlagBinary        ColumnFlags = mysql.BINARY_FLAG
	FlagEnum          ColumnFlags = mysql.ENUM_FLAG
	FlagAutoIncrement ColumnFlags = mysql.AUTO_INCREMENT_FLAG
	FlagTimestamp     ColumnFlags = mysql.TIMESTAMP_FLAG
	FlagSet           ColumnFlags = mysql.SET_FLAG
	FlagNoDefault     ColumnFlags = 4096
	FlagOnUpdateNow   ColumnFlags = 8192
	FlagPartKey       ColumnFlags = mysql.PART_KEY_FLAG
	FlagNum           ColumnFlags = mysql.NUM_FLAG
)

// CharsetBinary is the collation id of binary strings and of numbers.
const CharsetBinary uint16 = 63
