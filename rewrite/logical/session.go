package logical

import "time"

// Session holds the session variables that decide how values are converted.
type Session struct {
	ClientCharset     string         // character_set_client: of InputString without a charset of its own
	ConnectionCharset string         // character_set_connection: literals pass through it; "" means ClientCharset
	ResultsCharset    string         // character_set_results; "" or "binary" means that text comes in the column's charset
	ResultsCollation  uint16         // collation id stated in column definitions; 0 means the default of ResultsCharset
	TimeZone          *time.Location // time_zone; nil means unknown: TIMESTAMP values are then ErrNotPlain

	Strict              bool // STRICT_TRANS_TABLES (on an InnoDB table) or STRICT_ALL_TABLES
	NoZeroDate          bool // NO_ZERO_DATE
	NoZeroInDate        bool // NO_ZERO_IN_DATE
	AllowInvalidDates   bool // ALLOW_INVALID_DATES
	PadCharToFullLength bool // PAD_CHAR_TO_FULL_LENGTH
	TimeRoundFractional bool // TIME_ROUND_FRACTIONAL
}
