/*
 * Holds a conversation (see ../FORMAT.txt) through MariaDB Connector/C. Modes: c, which stores results in the client, and
 * cursor, which opens a cursor in the server, fetches rows three at a time and asks for compression.
 * Statements with arguments are prepared once; their buffers are bound once and the loop only changes what is in them.
 */
#include <errno.h>
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FIELDS = 64, MAX_SETS = 64, MAX_LINE = 8192, LONG_PIECE = 100000, MAX_VALUE = 2000000, MAX_TEXT = 200 };

static const char unit[] = "zebra \u00e9\u2713 'q' \\\n";

struct step {
	char *verb, *label, *sql;
	char *sets[MAX_SETS];
	int count;
};

/* A value in the memory that a statement is bound to. */
struct buffer {
	long long integer;
	double number;
	MYSQL_TIME time;
	char text[MAX_TEXT];
	unsigned long length;
	my_bool null;
	const char *large; /* times of unit, sent in pieces */
};

/* The lines of the step at hand; an error replaces them. */
static FILE *report;

static int cursors;

static void die(const char *what)
{
	fprintf(stderr, "%s\n", what);
	exit(1);
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);
	if (value == NULL)
		die(name);
	return value;
}

static void print_value(const char *name, const char *value, unsigned long length)
{
	if (value == NULL) {
		fprintf(report, "\t\\N");
	} else if (strcmp(name, "data") == 0) {
		putc('\t', report);
		for (unsigned long i = 0; i < length; i++)
			fprintf(report, "%02x", (unsigned char)value[i]);
	} else if (length > 1000) {
		unsigned long long sum = 0;
		for (unsigned long i = 0; i < length; i++)
			sum = (sum * 31 + (unsigned char)value[i]) % 2147483647;
		fprintf(report, "\tlen=%lu sum=%llu", length, sum);
	} else {
		putc('\t', report);
		fwrite(value, 1, length, report);
	}
}

static void print_error(const struct step *s, unsigned code)
{
	if (code == 0 || (code >= 2000 && code < 3000))
		fprintf(stderr, "%s: the client library reports %u\n", s->label, code);
	rewind(report);
	fprintf(report, "%s\terror=%u\n", s->label, code);
}

static void print_done(const struct step *s, unsigned long long affected, unsigned long long id)
{
	fprintf(report, "%s\taffected=%llu", s->label, affected);
	if (strcmp(s->verb, "insert") == 0)
		fprintf(report, " id=%llu", id);
	putc('\n', report);
}

static void run_text(MYSQL *db, const struct step *s)
{
	if (mysql_real_query(db, s->sql, strlen(s->sql)) != 0) {
		print_error(s, mysql_errno(db));
		return;
	}
	MYSQL_RES *result = mysql_store_result(db);
	if (result == NULL) {
		if (mysql_errno(db) != 0)
			print_error(s, mysql_errno(db));
		else
			print_done(s, mysql_affected_rows(db), mysql_insert_id(db));
		return;
	}
	MYSQL_FIELD *fields = mysql_fetch_fields(result);
	for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
		unsigned long *lengths = mysql_fetch_lengths(result);
		fprintf(report, "%s", s->label);
		for (unsigned i = 0; i < mysql_num_fields(result); i++)
			print_value(fields[i].name, row[i], lengths[i]);
		putc('\n', report);
	}
	mysql_free_result(result);
}

/* Binds every parameter of a statement to its buffer, with the types of the first set of arguments. */
static void bind(MYSQL_BIND *b, struct buffer *buf, const char *types, int n)
{
	memset(b, 0, n * sizeof *b);
	for (int i = 0; i < n; i++) {
		b[i].is_null = &buf[i].null;
		b[i].length = &buf[i].length;
		switch (types[i]) {
		case 'i':
			b[i].buffer_type = MYSQL_TYPE_LONGLONG;
			b[i].buffer = &buf[i].integer;
			break;
		case 'f':
			b[i].buffer_type = MYSQL_TYPE_DOUBLE;
			b[i].buffer = &buf[i].number;
			break;
		case 'd':
			b[i].buffer_type = MYSQL_TYPE_DATE;
			b[i].buffer = &buf[i].time;
			break;
		case 't':
			b[i].buffer_type = MYSQL_TYPE_DATETIME;
			b[i].buffer = &buf[i].time;
			break;
		case 'b':
			b[i].buffer_type = MYSQL_TYPE_BLOB;
			b[i].buffer = buf[i].text;
			break;
		case 'm':
			b[i].buffer_type = MYSQL_TYPE_NEWDECIMAL;
			b[i].buffer = buf[i].text;
			break;
		default:
			b[i].buffer_type = MYSQL_TYPE_STRING;
			b[i].buffer = buf[i].text;
		}
	}
}

static void fill(struct buffer *buf, const char *field)
{
	const char *value = field + 2;
	unsigned millis = 0;
	buf->null = field[0] == 'n';
	buf->large = NULL;
	switch (field[0]) {
	case 'i':
		buf->integer = atoll(value);
		return;
	case 'f':
		buf->number = atof(value);
		return;
	case 'd':
	case 't':
		memset(&buf->time, 0, sizeof buf->time);
		buf->time.time_type = field[0] == 'd' ? MYSQL_TIMESTAMP_DATE : MYSQL_TIMESTAMP_DATETIME;
		sscanf(value, "%u-%u-%u %u:%u:%u.%u", &buf->time.year, &buf->time.month, &buf->time.day, &buf->time.hour, &buf->time.minute, &buf->time.second, &millis);
		buf->time.second_part = millis * 1000;
		return;
	case 'l':
		buf->large = value;
		return;
	case 'b':
		for (buf->length = 0; value[2 * buf->length] != '\0'; buf->length++) {
			unsigned octet;
			sscanf(value + 2 * buf->length, "%2x", &octet);
			buf->text[buf->length] = (char)octet;
		}
		return;
	case 'k':
		value = setting(value[0] == 'a' ? "LATCHKEY_KEY_A" : "LATCHKEY_KEY_B");
		break;
	}
	if (strlen(value) >= MAX_TEXT)
		die("an argument is too long");
	buf->length = strlen(value);
	memcpy(buf->text, value, buf->length);
}

static int send_large(MYSQL_STMT *stmt, unsigned parameter, int times)
{
	size_t length = times * (sizeof unit - 1);
	char *text = malloc(length);
	for (int i = 0; i < times; i++)
		memcpy(text + i * (sizeof unit - 1), unit, sizeof unit - 1);
	int failed = 0;
	for (size_t at = 0; at < length && !failed; at += LONG_PIECE)
		failed = mysql_stmt_send_long_data(stmt, parameter, text + at, length - at < LONG_PIECE ? length - at : LONG_PIECE);
	free(text);
	return failed;
}

/* Reads the rows of an executed statement as text, into buffers as long as the longest value, or long enough. */
static int print_rows(MYSQL_STMT *stmt, const struct step *s)
{
	my_bool yes = 1;
	mysql_stmt_attr_set(stmt, STMT_ATTR_UPDATE_MAX_LENGTH, &yes);
	if (!cursors && mysql_stmt_store_result(stmt) != 0)
		return 1;
	MYSQL_RES *meta = mysql_stmt_result_metadata(stmt);
	unsigned n = mysql_num_fields(meta);
	MYSQL_FIELD *fields = mysql_fetch_fields(meta);
	MYSQL_BIND b[MAX_FIELDS];
	unsigned long lengths[MAX_FIELDS];
	my_bool nulls[MAX_FIELDS];
	memset(b, 0, sizeof b);
	for (unsigned i = 0; i < n; i++) {
		b[i].buffer_type = strcmp(fields[i].name, "data") == 0 ? MYSQL_TYPE_BLOB : MYSQL_TYPE_STRING;
		b[i].buffer_length = cursors ? MAX_VALUE : fields[i].max_length + MAX_TEXT;
		b[i].buffer = malloc(b[i].buffer_length);
		b[i].length = &lengths[i];
		b[i].is_null = &nulls[i];
	}
	int status = mysql_stmt_bind_result(stmt, b);
	while (status == 0 && (status = mysql_stmt_fetch(stmt)) == 0) {
		fprintf(report, "%s", s->label);
		for (unsigned i = 0; i < n; i++)
			print_value(fields[i].name, nulls[i] ? NULL : b[i].buffer, lengths[i]);
		putc('\n', report);
	}
	for (unsigned i = 0; i < n; i++)
		free(b[i].buffer);
	mysql_free_result(meta);
	if (status != MYSQL_NO_DATA)
		return 1; /* freeing the result would clear the error */
	mysql_stmt_free_result(stmt);
	return 0;
}

static int split(char *line, char **fields)
{
	int n = 0;
	for (char *at = line; at != NULL && n < MAX_FIELDS; n++) {
		fields[n] = at;
		if ((at = strchr(at, '\t')) != NULL)
			*at++ = '\0';
	}
	return n;
}

/* The types of a statement's parameters: a NULL in the first set takes its type from a later one. */
static int types_of(const struct step *s, char *types)
{
	int n = 0;
	for (int i = s->count - 1; i >= 0; i--) {
		char line[MAX_LINE], *fields[MAX_FIELDS];
		snprintf(line, sizeof line, "%s", s->sets[i]);
		n = split(line, fields);
		for (int j = 0; j < n; j++)
			if (fields[j][0] != 'n' || i == s->count - 1)
				types[j] = fields[j][0];
	}
	return n;
}

static int execute(MYSQL_STMT *stmt, const struct step *s, struct buffer *buf, const char *set)
{
	char line[MAX_LINE], *fields[MAX_FIELDS];
	snprintf(line, sizeof line, "%s", set);
	int n = split(line, fields);
	for (int i = 0; i < n; i++) {
		fill(&buf[i], fields[i]);
		if (buf[i].large != NULL && send_large(stmt, i, atoi(buf[i].large)))
			return 1;
	}
	if (mysql_stmt_execute(stmt) != 0)
		return 1;
	if (mysql_stmt_field_count(stmt) > 0)
		return print_rows(stmt, s);
	if (strcmp(s->verb, "batch") != 0)
		print_done(s, mysql_stmt_affected_rows(stmt), mysql_stmt_insert_id(stmt));
	return 0;
}

static void run_bound(MYSQL *db, const struct step *s)
{
	struct buffer buf[MAX_FIELDS];
	MYSQL_BIND b[MAX_FIELDS];
	char types[MAX_FIELDS];
	memset(buf, 0, sizeof buf);
	MYSQL_STMT *stmt = mysql_stmt_init(db);
	if (cursors) {
		unsigned long type = CURSOR_TYPE_READ_ONLY, rows = 3;
		mysql_stmt_attr_set(stmt, STMT_ATTR_CURSOR_TYPE, &type);
		mysql_stmt_attr_set(stmt, STMT_ATTR_PREFETCH_ROWS, &rows);
	}
	int failed = mysql_stmt_prepare(stmt, s->sql, strlen(s->sql));
	if (!failed) {
		bind(b, buf, types, types_of(s, types));
		failed = mysql_stmt_bind_param(stmt, b);
	}
	for (int i = 0; i < s->count && !failed; i++)
		failed = execute(stmt, s, buf, s->sets[i]);
	if (failed)
		print_error(s, mysql_stmt_errno(stmt));
	else if (strcmp(s->verb, "batch") == 0)
		fprintf(report, "%s\tdone\n", s->label);
	mysql_stmt_close(stmt);
}

static void run(MYSQL *db, const struct step *s)
{
	int failed;
	if (strcmp(s->verb, "text") == 0) {
		run_text(db, s);
		return;
	}
	if (s->count > 0) {
		run_bound(db, s);
		return;
	}
	if (strcmp(s->verb, "begin") == 0)
		failed = mysql_autocommit(db, 0);
	else if (strcmp(s->verb, "commit") == 0)
		failed = mysql_commit(db) || mysql_autocommit(db, 1);
	else
		failed = mysql_rollback(db) || mysql_autocommit(db, 1);
	if (failed)
		print_error(s, mysql_errno(db));
	else
		fprintf(report, "%s\tdone\n", s->label);
}

static void run_and_print(MYSQL *db, const struct step *s)
{
	char *lines;
	size_t length;
	report = open_memstream(&lines, &length);
	run(db, s);
	fclose(report);
	fwrite(lines, 1, length, stdout);
	free(lines);
}

static void read_and_run(MYSQL *db, const char *path)
{
	FILE *file = fopen(path, "r");
	char line[MAX_LINE], *fields[MAX_FIELDS];
	struct step s;
	int open = 0;
	if (file == NULL)
		die(strerror(errno));
	while (1) {
		char *got = fgets(line, sizeof line, file);
		if (got != NULL)
			line[strcspn(line, "\n")] = '\0';
		if (got != NULL && line[0] == '\t') {
			if (s.count == MAX_SETS)
				die("too many sets of arguments");
			s.sets[s.count++] = strdup(line + 1);
			continue;
		}
		if (open)
			run_and_print(db, &s);
		if (got == NULL)
			break;
		int n = split(line, fields);
		memset(&s, 0, sizeof s);
		s.verb = strdup(fields[0]);
		s.label = strdup(fields[1]);
		s.sql = strdup(n > 2 ? fields[2] : "");
		open = 1;
	}
	fclose(file);
}

int main(int argc, char **argv)
{
	MYSQL *db = mysql_init(NULL);
	mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
	cursors = argc > 1 && strcmp(argv[1], "cursor") == 0;
	if (cursors)
		mysql_options(db, MYSQL_OPT_COMPRESS, NULL);
	if (mysql_real_connect(db, setting("LATCHKEY_HOST"), setting("LATCHKEY_USER"), setting("LATCHKEY_PASSWORD"), setting("LATCHKEY_DATABASE"),
			       atoi(setting("LATCHKEY_PORT")), NULL, 0) == NULL)
		die(mysql_error(db));
	for (int i = 2; i < argc; i++)
		read_and_run(db, argv[i]);
	mysql_close(db);
	return 0;
}
