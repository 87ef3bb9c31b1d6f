"""Serves requests (see ../FORMAT.txt) through a driver of Python. Modes: pymysql, mysqlclient, and pymysql-stream and
mysqlclient-stream, which read rows as they come."""

import os
import sys


def connect(mode):
    name, _, stream = mode.partition("-")
    options = {
        "host": os.environ["LATCHKEY_HOST"],
        "port": int(os.environ["LATCHKEY_PORT"]),
        "user": os.environ["LATCHKEY_USER"],
        "password": os.environ["LATCHKEY_PASSWORD"],
        "database": os.environ["LATCHKEY_DATABASE"],
        "charset": "utf8mb4",
    }
    if name == "pymysql":
        import pymysql as driver
        import pymysql.constants.CLIENT as client
        import pymysql.cursors as cursors
    else:
        import MySQLdb as driver
        import MySQLdb.constants.CLIENT as client
        import MySQLdb.cursors as cursors
    options["client_flag"] = client.MULTI_STATEMENTS
    if stream:
        options["cursorclass"] = cursors.SSCursor
    return driver, driver.connect(**options)


def say(*fields):
    print(*fields, sep="\t")


def report(cursor):
    while True:
        if cursor.description is None:
            say("ok")
        else:
            say("columns", *(column[0] for column in cursor.description))
            for row in cursor.fetchall():
                say("row", *row)
        if not cursor.nextset():
            return


def run(connection, how, sql, values):
    with connection.cursor() as cursor:
        if how == "call":
            cursor.callproc(sql, values)
            report(cursor)
            return
        for _ in range(2 if how == "twice" else 1):
            if how in ("text", "several"):
                cursor.execute(sql)
            else:
                cursor.execute(sql.replace("?", "%s"), values)
            report(cursor)


def main():
    driver, connection = connect(sys.argv[1])
    for line in sys.stdin:
        how, sql, *values = line.rstrip("\n").split("\t")
        try:
            run(connection, how, sql, [None if value == r"\N" else value for value in values])
        except driver.Error as error:
            say("error", error.args[0], "-", error.args[1])
        say("end")
        sys.stdout.flush()


main()
