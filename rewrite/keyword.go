package rewrite

// Keyword is the small integer of a word that planning looks for. KwNone is every other word, and every word that
// MariaDB reads as a name because of a dot next to it. Most keywords are not reserved: the same word may be a name.
type Keyword uint16

// The keywords, in alphabetical order.
const (
	KwNone Keyword = iota
	KwAccount
	KwAction
	KwAdd
	KwAdmin
	KwAfter
	KwAgainst
	KwAggregate
	KwAlgorithm
	KwAll
	KwAlter
	KwAlways
	KwAnalyse
	KwAnalyze
	KwAnd
	KwAny
	KwAs
	KwAsc
	KwAtomic
	KwAuthors
	KwAutoIncrement
	KwBackup
	KwBefore
	KwBegin
	KwBetween
	KwBinary
	KwBinlog
	KwBody
	KwBoth
	KwBy
	KwCache
	KwCall
	KwCascade
	KwCase
	KwCast
	KwChange
	KwChanged
	KwChar
	KwCharacter
	KwCharset
	KwCheck
	KwCheckpoint
	KwChecksum
	KwClose
	KwCoalesce
	KwCollate
	KwColumn
	KwColumns
	KwComment
	KwCommit
	KwCommitted
	KwCompressed
	KwConcurrent
	KwCondition
	KwConstraint
	KwContains
	KwContinue
	KwConvert
	KwCount
	KwCreate
	KwCross
	KwCube
	KwCurrent
	KwCurrentDate
	KwCurrentRole
	KwCurrentTime
	KwCurrentTimestamp
	KwCurrentUser
	KwCursor
	KwCycle
	KwData
	KwDatabase
	KwDatabases
	KwDate
	KwDatetime
	KwDay
	KwDeallocate
	KwDeclare
	KwDefault
	KwDefiner
	KwDelayed
	KwDelete
	KwDesc
	KwDescribe
	KwDeterministic
	KwDiagnostics
	KwDisable
	KwDiscard
	KwDistinct
	KwDistinctrow
	KwDiv
	KwDo
	KwDrop
	KwDual
	KwDumpfile
	KwDuplicate
	KwEach
	KwElse
	KwElseif
	KwEnable
	KwEnclosed
	KwEnd
	KwEngine
	KwEngines
	KwEnum
	KwError
	KwErrors
	KwEscape
	KwEscaped
	KwEvent
	KwEvents
	KwExamined
	KwExcept
	KwExchange
	KwExecute
	KwExists
	KwExit
	KwExplain
	KwExtended
	KwExtract
	KwFalse
	KwFetch
	KwFields
	KwFile
	KwFirst
	KwFlush
	KwFollowing
	KwFor
	KwForce
	KwForeign
	KwFormat
	KwFound
	KwFrom
	KwFull
	KwFulltext
	KwFunction
	KwGenerated
	KwGet
	KwGlobal
	KwGrant
	KwGrants
	KwGroup
	KwGroups
	KwGroupConcat
	KwHandler
	KwHaving
	KwHelp
	KwHighPriority
	KwHistory
	KwHost
	KwHosts
	KwHour
	KwIdentified
	KwIf
	KwIgnore
	KwIgnoreDomainIds
	KwImmediate
	KwImport
	KwIn
	KwIndex
	KwIndexes
	KwInfile
	KwInner
	KwInsert
	KwInstall
	KwInt
	KwInteger
	KwIntersect
	KwInterval
	KwInto
	KwInvisible
	KwIs
	KwIsolation
	KwIterate
	KwJoin
	KwJson
	KwJsonTable
	KwKey
	KwKeys
	KwKill
	KwLanguage
	KwLast
	KwLastValue
	KwLeading
	KwLeave
	KwLeft
	KwLevel
	KwLike
	KwLimit
	KwLines
	KwLoad
	KwLocal
	KwLocaltime
	KwLocaltimestamp
	KwLock
	KwLocked
	KwLocks
	KwLoop
	KwLowPriority
	KwMaster
	KwMatch
	KwMax
	KwMaxvalue
	KwMin
	KwMinus
	KwMinute
	KwMod
	KwMode
	KwModify
	KwMonth
	KwNames
	KwNational
	KwNatural
	KwNchar
	KwNested
	KwNext
	KwNo
	KwNocache
	KwNocycle
	KwNot
	KwNowait
	KwNull
	KwNulls
	KwNumber
	KwOf
	KwOffset
	KwOj
	KwOld
	KwOn
	KwOnline
	KwOnly
	KwOpen
	KwOptimize
	KwOption
	KwOptionally
	KwOr
	KwOrder
	KwOrdinality
	KwOthers
	KwOut
	KwOuter
	KwOutfile
	KwOver
	KwOverlaps
	KwPackage
	KwParser
	KwPartition
	KwPartitions
	KwPassword
	KwPercentileCont
	KwPercentileDisc
	KwPeriod
	KwPlugin
	KwPlugins
	KwPortion
	KwPreceding
	KwPrepare
	KwPrevious
	KwPrimary
	KwPrivileges
	KwProcedure
	KwProcesslist
	KwProfile
	KwProfiles
	KwPurge
	KwQuarter
	KwQuery
	KwQuick
	KwRange
	KwRead
	KwReads
	KwRecursive
	KwReferences
	KwRegexp
	KwRelease
	KwReload
	KwRename
	KwRepair
	KwRepeat
	KwRepeatable
	KwReplace
	KwReplica
	KwReplication
	KwReset
	KwResignal
	KwRestore
	KwRestrict
	KwResume
	KwReturn
	KwReturning
	KwReturns
	KwRevoke
	KwRight
	KwRlike
	KwRole
	KwRollback
	KwRollup
	KwRoutine
	KwRow
	KwRownum
	KwRows
	KwSavepoint
	KwSchedule
	KwSchema
	KwSchemas
	KwSecond
	KwSelect
	KwSeparator
	KwSequence
	KwSerializable
	KwServer
	KwSession
	KwSet
	KwSetval
	KwShare
	KwShow
	KwShutdown
	KwSignal
	KwSigned
	KwSkip
	KwSlave
	KwSnapshot
	KwSoname
	KwSounds
	KwSpatial
	KwSql
	KwSqlBigResult
	KwSqlBufferResult
	KwSqlCache
	KwSqlCalcFoundRows
	KwSqlNoCache
	KwSqlSmallResult
	KwSqlTsiDay
	KwStage
	KwStart
	KwStarting
	KwStarts
	KwStatement
	KwStatus
	KwStop
	KwStored
	KwStraightJoin
	KwSubstring
	KwSuspend
	KwSysdate
	KwSystem
	KwSystemTime
	KwTable
	KwTables
	KwTablespace
	KwTemporary
	KwTemptable
	KwTerminated
	KwThen
	KwTies
	KwTime
	KwTimestamp
	KwTo
	KwTrailing
	KwTransaction
	KwTrigger
	KwTriggers
	KwTrim
	KwTrue
	KwTruncate
	KwType
	KwUnbounded
	KwUncommitted
	KwUndo
	KwUninstall
	KwUnion
	KwUnique
	KwUnlock
	KwUnsigned
	KwUntil
	KwUpdate
	KwUpgrade
	KwUsage
	KwUse
	KwUser
	KwUsing
	KwUtcDate
	KwUtcTime
	KwUtcTimestamp
	KwValue
	KwValues
	KwVariables
	KwVarying
	KwVersioning
	KwView
	KwVirtual
	KwVisible
	KwWait
	KwWarnings
	KwWeek
	KwWeightString
	KwWhen
	KwWhere
	KwWhile
	KwWindow
	KwWith
	KwWithin
	KwWithout
	KwWork
	KwWrite
	KwXa
	KwXml
	KwXor
	KwYear
	KwZerofill
)

// keywordNames holds the upper-case text of every keyword by its number.
var keywordNames = [...]string{
	KwNone:             "",
	KwAccount:          "ACCOUNT",
	KwAction:           "ACTION",
	KwAdd:              "ADD",
	KwAdmin:            "ADMIN",
	KwAfter:            "AFTER",
	KwAgainst:          "AGAINST",
	KwAggregate:        "AGGREGATE",
	KwAlgorithm:        "ALGORITHM",
	KwAll:              "ALL",
	KwAlter:            "ALTER",
	KwAlways:           "ALWAYS",
	KwAnalyse:          "ANALYSE",
	KwAnalyze:          "ANALYZE",
	KwAnd:              "AND",
	KwAny:              "ANY",
	KwAs:               "AS",
	KwAsc:              "ASC",
	KwAtomic:           "ATOMIC",
	KwAuthors:          "AUTHORS",
	KwAutoIncrement:    "AUTO_INCREMENT",
	KwBackup:           "BACKUP",
	KwBefore:           "BEFORE",
	KwBegin:            "BEGIN",
	KwBetween:          "BETWEEN",
	KwBinary:           "BINARY",
	KwBinlog:           "BINLOG",
	KwBody:             "BODY",
	KwBoth:             "BOTH",
	KwBy:               "BY",
	KwCache:            "CACHE",
	KwCall:             "CALL",
	KwCascade:          "CASCADE",
	KwCase:             "CASE",
	KwCast:             "CAST",
	KwChange:           "CHANGE",
	KwChanged:          "CHANGED",
	KwChar:             "CHAR",
	KwCharacter:        "CHARACTER",
	KwCharset:          "CHARSET",
	KwCheck:            "CHECK",
	KwCheckpoint:       "CHECKPOINT",
	KwChecksum:         "CHECKSUM",
	KwClose:            "CLOSE",
	KwCoalesce:         "COALESCE",
	KwCollate:          "COLLATE",
	KwColumn:           "COLUMN",
	KwColumns:          "COLUMNS",
	KwComment:          "COMMENT",
	KwCommit:           "COMMIT",
	KwCommitted:        "COMMITTED",
	KwCompressed:       "COMPRESSED",
	KwConcurrent:       "CONCURRENT",
	KwCondition:        "CONDITION",
	KwConstraint:       "CONSTRAINT",
	KwContains:         "CONTAINS",
	KwContinue:         "CONTINUE",
	KwConvert:          "CONVERT",
	KwCount:            "COUNT",
	KwCreate:           "CREATE",
	KwCross:            "CROSS",
	KwCube:             "CUBE",
	KwCurrent:          "CURRENT",
	KwCurrentDate:      "CURRENT_DATE",
	KwCurrentRole:      "CURRENT_ROLE",
	KwCurrentTime:      "CURRENT_TIME",
	KwCurrentTimestamp: "CURRENT_TIMESTAMP",
	KwCurrentUser:      "CURRENT_USER",
	KwCursor:           "CURSOR",
	KwCycle:            "CYCLE",
	KwData:             "DATA",
	KwDatabase:         "DATABASE",
	KwDatabases:        "DATABASES",
	KwDate:             "DATE",
	KwDatetime:         "DATETIME",
	KwDay:              "DAY",
	KwDeallocate:       "DEALLOCATE",
	KwDeclare:          "DECLARE",
	KwDefault:          "DEFAULT",
	KwDefiner:          "DEFINER",
	KwDelayed:          "DELAYED",
	KwDelete:           "DELETE",
	KwDesc:             "DESC",
	KwDescribe:         "DESCRIBE",
	KwDeterministic:    "DETERMINISTIC",
	KwDiagnostics:      "DIAGNOSTICS",
	KwDisable:          "DISABLE",
	KwDiscard:          "DISCARD",
	KwDistinct:         "DISTINCT",
	KwDistinctrow:      "DISTINCTROW",
	KwDiv:              "DIV",
	KwDo:               "DO",
	KwDrop:             "DROP",
	KwDual:             "DUAL",
	KwDumpfile:         "DUMPFILE",
	KwDuplicate:        "DUPLICATE",
	KwEach:             "EACH",
	KwElse:             "ELSE",
	KwElseif:           "ELSEIF",
	KwEnable:           "ENABLE",
	KwEnclosed:         "ENCLOSED",
	KwEnd:              "END",
	KwEngine:           "ENGINE",
	KwEngines:          "ENGINES",
	KwEnum:             "ENUM",
	KwError:            "ERROR",
	KwErrors:           "ERRORS",
	KwEscape:           "ESCAPE",
	KwEscaped:          "ESCAPED",
	KwEvent:            "EVENT",
	KwEvents:           "EVENTS",
	KwExamined:         "EXAMINED",
	KwExcept:           "EXCEPT",
	KwExchange:         "EXCHANGE",
	KwExecute:          "EXECUTE",
	KwExists:           "EXISTS",
	KwExit:             "EXIT",
	KwExplain:          "EXPLAIN",
	KwExtended:         "EXTENDED",
	KwExtract:          "EXTRACT",
	KwFalse:            "FALSE",
	KwFetch:            "FETCH",
	KwFields:           "FIELDS",
	KwFile:             "FILE",
	KwFirst:            "FIRST",
	KwFlush:            "FLUSH",
	KwFollowing:        "FOLLOWING",
	KwFor:              "FOR",
	KwForce:            "FORCE",
	KwForeign:          "FOREIGN",
	KwFormat:           "FORMAT",
	KwFound:            "FOUND",
	KwFrom:             "FROM",
	KwFull:             "FULL",
	KwFulltext:         "FULLTEXT",
	KwFunction:         "FUNCTION",
	KwGenerated:        "GENERATED",
	KwGet:              "GET",
	KwGlobal:           "GLOBAL",
	KwGrant:            "GRANT",
	KwGrants:           "GRANTS",
	KwGroup:            "GROUP",
	KwGroups:           "GROUPS",
	KwGroupConcat:      "GROUP_CONCAT",
	KwHandler:          "HANDLER",
	KwHaving:           "HAVING",
	KwHelp:             "HELP",
	KwHighPriority:     "HIGH_PRIORITY",
	KwHistory:          "HISTORY",
	KwHost:             "HOST",
	KwHosts:            "HOSTS",
	KwHour:             "HOUR",
	KwIdentified:       "IDENTIFIED",
	KwIf:               "IF",
	KwIgnore:           "IGNORE",
	KwIgnoreDomainIds:  "IGNORE_DOMAIN_IDS",
	KwImmediate:        "IMMEDIATE",
	KwImport:           "IMPORT",
	KwIn:               "IN",
	KwIndex:            "INDEX",
	KwIndexes:          "INDEXES",
	KwInfile:           "INFILE",
	KwInner:            "INNER",
	KwInsert:           "INSERT",
	KwInstall:          "INSTALL",
	KwInt:              "INT",
	KwInteger:          "INTEGER",
	KwIntersect:        "INTERSECT",
	KwInterval:         "INTERVAL",
	KwInto:             "INTO",
	KwInvisible:        "INVISIBLE",
	KwIs:               "IS",
	KwIsolation:        "ISOLATION",
	KwIterate:          "ITERATE",
	KwJoin:             "JOIN",
	KwJson:             "JSON",
	KwJsonTable:        "JSON_TABLE",
	KwKey:              "KEY",
	KwKeys:             "KEYS",
	KwKill:             "KILL",
	KwLanguage:         "LANGUAGE",
	KwLast:             "LAST",
	KwLastValue:        "LAST_VALUE",
	KwLeading:          "LEADING",
	KwLeave:            "LEAVE",
	KwLeft:             "LEFT",
	KwLevel:            "LEVEL",
	KwLike:             "LIKE",
	KwLimit:            "LIMIT",
	KwLines:            "LINES",
	KwLoad:             "LOAD",
	KwLocal:            "LOCAL",
	KwLocaltime:        "LOCALTIME",
	KwLocaltimestamp:   "LOCALTIMESTAMP",
	KwLock:             "LOCK",
	KwLocked:           "LOCKED",
	KwLocks:            "LOCKS",
	KwLoop:             "LOOP",
	KwLowPriority:      "LOW_PRIORITY",
	KwMaster:           "MASTER",
	KwMatch:            "MATCH",
	KwMax:              "MAX",
	KwMaxvalue:         "MAXVALUE",
	KwMin:              "MIN",
	KwMinus:            "MINUS",
	KwMinute:           "MINUTE",
	KwMod:              "MOD",
	KwMode:             "MODE",
	KwModify:           "MODIFY",
	KwMonth:            "MONTH",
	KwNames:            "NAMES",
	KwNational:         "NATIONAL",
	KwNatural:          "NATURAL",
	KwNchar:            "NCHAR",
	KwNested:           "NESTED",
	KwNext:             "NEXT",
	KwNo:               "NO",
	KwNocache:          "NOCACHE",
	KwNocycle:          "NOCYCLE",
	KwNot:              "NOT",
	KwNowait:           "NOWAIT",
	KwNull:             "NULL",
	KwNulls:            "NULLS",
	KwNumber:           "NUMBER",
	KwOf:               "OF",
	KwOffset:           "OFFSET",
	KwOj:               "OJ",
	KwOld:              "OLD",
	KwOn:               "ON",
	KwOnline:           "ONLINE",
	KwOnly:             "ONLY",
	KwOpen:             "OPEN",
	KwOptimize:         "OPTIMIZE",
	KwOption:           "OPTION",
	KwOptionally:       "OPTIONALLY",
	KwOr:               "OR",
	KwOrder:            "ORDER",
	KwOrdinality:       "ORDINALITY",
	KwOthers:           "OTHERS",
	KwOut:              "OUT",
	KwOuter:            "OUTER",
	KwOutfile:          "OUTFILE",
	KwOver:             "OVER",
	KwOverlaps:         "OVERLAPS",
	KwPackage:          "PACKAGE",
	KwParser:           "PARSER",
	KwPartition:        "PARTITION",
	KwPartitions:       "PARTITIONS",
	KwPassword:         "PASSWORD",
	KwPercentileCont:   "PERCENTILE_CONT",
	KwPercentileDisc:   "PERCENTILE_DISC",
	KwPeriod:           "PERIOD",
	KwPlugin:           "PLUGIN",
	KwPlugins:          "PLUGINS",
	KwPortion:          "PORTION",
	KwPreceding:        "PRECEDING",
	KwPrepare:          "PREPARE",
	KwPrevious:         "PREVIOUS",
	KwPrimary:          "PRIMARY",
	KwPrivileges:       "PRIVILEGES",
	KwProcedure:        "PROCEDURE",
	KwProcesslist:      "PROCESSLIST",
	KwProfile:          "PROFILE",
	KwProfiles:         "PROFILES",
	KwPurge:            "PURGE",
	KwQuarter:          "QUARTER",
	KwQuery:            "QUERY",
	KwQuick:            "QUICK",
	KwRange:            "RANGE",
	KwRead:             "READ",
	KwReads:            "READS",
	KwRecursive:        "RECURSIVE",
	KwReferences:       "REFERENCES",
	KwRegexp:           "REGEXP",
	KwRelease:          "RELEASE",
	KwReload:           "RELOAD",
	KwRename:           "RENAME",
	KwRepair:           "REPAIR",
	KwRepeat:           "REPEAT",
	KwRepeatable:       "REPEATABLE",
	KwReplace:          "REPLACE",
	KwReplica:          "REPLICA",
	KwReplication:      "REPLICATION",
	KwReset:            "RESET",
	KwResignal:         "RESIGNAL",
	KwRestore:          "RESTORE",
	KwRestrict:         "RESTRICT",
	KwResume:           "RESUME",
	KwReturn:           "RETURN",
	KwReturning:        "RETURNING",
	KwReturns:          "RETURNS",
	KwRevoke:           "REVOKE",
	KwRight:            "RIGHT",
	KwRlike:            "RLIKE",
	KwRole:             "ROLE",
	KwRollback:         "ROLLBACK",
	KwRollup:           "ROLLUP",
	KwRoutine:          "ROUTINE",
	KwRow:              "ROW",
	KwRownum:           "ROWNUM",
	KwRows:             "ROWS",
	KwSavepoint:        "SAVEPOINT",
	KwSchedule:         "SCHEDULE",
	KwSchema:           "SCHEMA",
	KwSchemas:          "SCHEMAS",
	KwSecond:           "SECOND",
	KwSelect:           "SELECT",
	KwSeparator:        "SEPARATOR",
	KwSequence:         "SEQUENCE",
	KwSerializable:     "SERIALIZABLE",
	KwServer:           "SERVER",
	KwSession:          "SESSION",
	KwSet:              "SET",
	KwSetval:           "SETVAL",
	KwShare:            "SHARE",
	KwShow:             "SHOW",
	KwShutdown:         "SHUTDOWN",
	KwSignal:           "SIGNAL",
	KwSigned:           "SIGNED",
	KwSkip:             "SKIP",
	KwSlave:            "SLAVE",
	KwSnapshot:         "SNAPSHOT",
	KwSoname:           "SONAME",
	KwSounds:           "SOUNDS",
	KwSpatial:          "SPATIAL",
	KwSql:              "SQL",
	KwSqlBigResult:     "SQL_BIG_RESULT",
	KwSqlBufferResult:  "SQL_BUFFER_RESULT",
	KwSqlCache:         "SQL_CACHE",
	KwSqlCalcFoundRows: "SQL_CALC_FOUND_ROWS",
	KwSqlNoCache:       "SQL_NO_CACHE",
	KwSqlSmallResult:   "SQL_SMALL_RESULT",
	KwSqlTsiDay:        "SQL_TSI_DAY",
	KwStage:            "STAGE",
	KwStart:            "START",
	KwStarting:         "STARTING",
	KwStarts:           "STARTS",
	KwStatement:        "STATEMENT",
	KwStatus:           "STATUS",
	KwStop:             "STOP",
	KwStored:           "STORED",
	KwStraightJoin:     "STRAIGHT_JOIN",
	KwSubstring:        "SUBSTRING",
	KwSuspend:          "SUSPEND",
	KwSysdate:          "SYSDATE",
	KwSystem:           "SYSTEM",
	KwSystemTime:       "SYSTEM_TIME",
	KwTable:            "TABLE",
	KwTables:           "TABLES",
	KwTablespace:       "TABLESPACE",
	KwTemporary:        "TEMPORARY",
	KwTemptable:        "TEMPTABLE",
	KwTerminated:       "TERMINATED",
	KwThen:             "THEN",
	KwTies:             "TIES",
	KwTime:             "TIME",
	KwTimestamp:        "TIMESTAMP",
	KwTo:               "TO",
	KwTrailing:         "TRAILING",
	KwTransaction:      "TRANSACTION",
	KwTrigger:          "TRIGGER",
	KwTriggers:         "TRIGGERS",
	KwTrim:             "TRIM",
	KwTrue:             "TRUE",
	KwTruncate:         "TRUNCATE",
	KwType:             "TYPE",
	KwUnbounded:        "UNBOUNDED",
	KwUncommitted:      "UNCOMMITTED",
	KwUndo:             "UNDO",
	KwUninstall:        "UNINSTALL",
	KwUnion:            "UNION",
	KwUnique:           "UNIQUE",
	KwUnlock:           "UNLOCK",
	KwUnsigned:         "UNSIGNED",
	KwUntil:            "UNTIL",
	KwUpdate:           "UPDATE",
	KwUpgrade:          "UPGRADE",
	KwUsage:            "USAGE",
	KwUse:              "USE",
	KwUser:             "USER",
	KwUsing:            "USING",
	KwUtcDate:          "UTC_DATE",
	KwUtcTime:          "UTC_TIME",
	KwUtcTimestamp:     "UTC_TIMESTAMP",
	KwValue:            "VALUE",
	KwValues:           "VALUES",
	KwVariables:        "VARIABLES",
	KwVarying:          "VARYING",
	KwVersioning:       "VERSIONING",
	KwView:             "VIEW",
	KwVirtual:          "VIRTUAL",
	KwVisible:          "VISIBLE",
	KwWait:             "WAIT",
	KwWarnings:         "WARNINGS",
	KwWeek:             "WEEK",
	KwWeightString:     "WEIGHT_STRING",
	KwWhen:             "WHEN",
	KwWhere:            "WHERE",
	KwWhile:            "WHILE",
	KwWindow:           "WINDOW",
	KwWith:             "WITH",
	KwWithin:           "WITHIN",
	KwWithout:          "WITHOUT",
	KwWork:             "WORK",
	KwWrite:            "WRITE",
	KwXa:               "XA",
	KwXml:              "XML",
	KwXor:              "XOR",
	KwYear:             "YEAR",
	KwZerofill:         "ZEROFILL",
}

// String gives the keyword in upper case.
func (k Keyword) String() string { return keywordNames[k] }

// maxKeywordLength is the length of the longest keyword.
const maxKeywordLength = len("SQL_CALC_FOUND_ROWS")

const keywordTableSize = 2048

// keywordTable is an open-addressing hash table of keyword numbers. Its size is a power of two, a few times the number of
// keywords, so that a probe seldom meets another word.
var keywordTable = func() (t [keywordTableSize]Keyword) {
	for k := KwNone + 1; int(k) < len(keywordNames); k++ {
		h := uint32(keywordHashStart)
		for _, c := range []byte(keywordNames[k]) {
			h = keywordHash(h, c)
		}
		i := keywordSlot(h)
		for t[i] != KwNone {
			i = (i + 1) % keywordTableSize
		}
		t[i] = k
	}
	return t
}()

// The hash is FNV-1a over letters folded by bit 5; the table is fixed, so nobody can choose colliding keys.
const (
	keywordHashStart = 2166136261
	keywordHashStep  = 16777619
)

func keywordSlot(h uint32) uint32 { return (h ^ h>>15) % keywordTableSize }

// keywordHash adds one byte of a word to its hash.
func keywordHash(h uint32, c byte) uint32 { return (h ^ uint32(c|0x20)) * keywordHashStep }

// lookupKeyword finds the keyword of an unquoted word, without regard to letter case.
func lookupKeyword(word []byte) Keyword {
	h := uint32(keywordHashStart)
	for _, c := range word {
		h = keywordHash(h, c)
	}
	return findKeyword(word, h)
}

// findKeyword is lookupKeyword for a word whose hash is known.
func findKeyword(word []byte, hash uint32) Keyword {
	if len(word) > maxKeywordLength || len(word) < 2 {
		return KwNone
	}
	for i := keywordSlot(hash); keywordTable[i] != KwNone; i = (i + 1) % keywordTableSize {
		if k := keywordTable[i]; equalFoldASCII(word, keywordNames[k]) {
			return k
		}
	}
	return KwNone
}

// equalFoldASCII compares a word with an upper-case ASCII name.
func equalFoldASCII(word []byte, upper string) bool {
	if len(word) != len(upper) {
		return false
	}
	for i, c := range word {
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		if c != upper[i] {
			return false
		}
	}
	return true
}
