/* Serves requests (see ../FORMAT.txt) through MariaDB Connector/C. The mode is plain or cursor. */
#include <mysql.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_LINE = 65536, MAX_FIELDS = 16, MAX_VALUE = 1024 };

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

static void print_columns(MYSQL_RES *result)
{
	MYSQL_FIELD *fields = mysql_fetch_fields(result);
	printf("columns");
	for (unsigned i = 0; i < mysql_num_fields(result); i++)
		printf("\t%s", fields[i].name);
	putchar('\n');
}

/* Reports all results of a text. Gives 0, or 1 after an error. */
static int run_text(MYSQL *db, const char *sql)
{
	if (mysql_real_query(db, sql, strlen(sql)) != 0)
		return 1;
	for (;;) {
		MYSQL_RES *result = mysql_store_result(db);
		if (result == NULL) {
			if (mysql_errno(db) != 0)
				return 1;
			puts("ok");
		} else {
			print_columns(result);
			for (MYSQL_ROW row; (row = mysql_fetch_row(result)) != NULL;) {
				printf("row");
				for (unsigned i = 0; i < mysql_num_fields(result); i++)
					printf("\t%s", row[i]);
				putchar('\n');
			}
			mysql_free_result(result);
		}
		int next = mysql_next_result(db);
		if (next < 0)
			return 0;
		if (next > 0)
			return 1;
	}
}

static int print_rows(MYSQL_STMT *stmt)
{
	static char values[MAX_FIELDS][MAX_VALUE];
	unsigned long lengths[MAX_FIELDS];
	MYSQL_BIND columns[MAX_FIELDS];
	MYSQL_RES *meta = mysql_stmt_result_metadata(stmt);
	if (meta == NULL)
		return 1;
	print_columns(meta);
	unsigned n = mysql_num_fields(meta);
	mysql_free_result(meta);
	memset(columns, 0, sizeof columns);
	for (unsigned i = 0; i < n; i++) {
		columns[i].buffer_type = MYSQL_TYPE_STRING;
		columns[i].buffer = values[i];
		columns[i].buffer_length = MAX_VALUE;
		columns[i].length = &lengths[i];
	}
	if (mysql_stmt_bind_result(stmt, columns) != 0)
		return 1;
	for (int status; (status = mysql_stmt_fetch(stmt)) != MYSQL_NO_DATA;) {
		if (status != 0)
			return 1;
		printf("row");
		for (unsigned i = 0; i < n; i++)
			printf("\t%.*s", (int)lengths[i], values[i]);
		putchar('\n');
	}
	return 0;
}

static int run_bound(MYSQL_STMT *stmt, const char *sql, char **values, unsigned n, int times, unsigned long cursor)
{
	MYSQL_BIND parameters[MAX_FIELDS];
	memset(parameters, 0, sizeof parameters);
	for (unsigned i = 0; i < n; i++) {
		parameters[i].buffer_type = strcmp(values[i], "\\N") == 0 ? MYSQL_TYPE_NULL : MYSQL_TYPE_STRING;
		parameters[i].buffer = values[i];
		parameters[i].buffer_length = strlen(values[i]);
	}
	if (mysql_stmt_attr_set(stmt, STMT_ATTR_CURSOR_TYPE, &cursor) != 0)
		return 1;
	if (mysql_stmt_prepare(stmt, sql, strlen(sql)) != 0 || mysql_stmt_bind_param(stmt, parameters) != 0)
		return 1;
	for (int i = 0; i < times; i++) {
		if (mysql_stmt_execute(stmt) != 0)
			return 1;
		for (;;) {
			if (mysql_stmt_field_count(stmt) == 0)
				puts("ok");
			else if (print_rows(stmt) != 0)
				return 1;
			int next = mysql_stmt_next_result(stmt);
			if (next < 0)
				break;
			if (next > 0)
				return 1;
		}
	}
	return 0;
}

int main(int argc, char **argv)
{
	static char line[MAX_LINE];
	if (argc != 2)
		die("usage: procedures MODE");
	unsigned long cursor = strcmp(argv[1], "cursor") == 0 ? CURSOR_TYPE_READ_ONLY : CURSOR_TYPE_NO_CURSOR;
	MYSQL *db = mysql_init(NULL);
	if (mysql_real_connect(db, setting("LATCHKEY_HOST"), setting("LATCHKEY_USER"), setting("LATCHKEY_PASSWORD"), setting("LATCHKEY_DATABASE"),
	                       atoi(setting("LATCHKEY_PORT")), NULL, CLIENT_MULTI_STATEMENTS) == NULL)
		die(mysql_error(db));
	while (fgets(line, sizeof line, stdin) != NULL) {
		char *fields[MAX_FIELDS];
		unsigned n = 0;
		line[strcspn(line, "\n")] = '\0';
		for (char *field = strtok(line, "\t"); field != NULL && n < MAX_FIELDS; field = strtok(NULL, "\t"))
			fields[n++] = field;
		if (n < 2)
			die("a request is too short");
		if (strcmp(fields[0], "text") == 0 || strcmp(fields[0], "several") == 0) {
			if (run_text(db, fields[1]) != 0)
				printf("error\t%u\t%s\t%s\n", mysql_errno(db), mysql_sqlstate(db), mysql_error(db));
		} else {
			MYSQL_STMT *stmt = mysql_stmt_init(db);
			if (run_bound(stmt, fields[1], fields + 2, n - 2, strcmp(fields[0], "twice") == 0 ? 2 : 1, cursor) != 0)
				printf("error\t%u\t%s\t%s\n", mysql_stmt_errno(stmt), mysql_stmt_sqlstate(stmt), mysql_stmt_error(stmt));
			mysql_stmt_close(stmt);
		}
		puts("end");
		fflush(stdout);
	}
	mysql_close(db);
	return 0;
}
