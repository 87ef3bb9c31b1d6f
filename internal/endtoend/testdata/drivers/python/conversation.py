"""Holds a conversation (see ../FORMAT.txt) through a driver of Python. Modes: pymysql, mysqlclient, and
pymysql-stream and mysqlclient-stream, which read rows as they come."""

import datetime
import decimal
import os
import sys


def connect(mode):
    options = {
        "host": os.environ["LATCHKEY_HOST"],
        "port": int(os.environ["LATCHKEY_PORT"]),
        "user": os.environ["LATCHKEY_USER"],
        "charset": "utf8mb4",
    }
    password, database = os.environ["LATCHKEY_PASSWORD"], os.environ["LATCHKEY_DATABASE"]
    driver, _, stream = mode.partition("-")
    if driver == "pymysql":
        import pymysql
        import pymysql.cursors

        if stream:
            options["cursorclass"] = pymysql.cursors.SSCursor
        return pymysql, pymysql.connect(password=password, database=database, autocommit=True, **options)
    import MySQLdb
    import MySQLdb.cursors

    if stream:
        options["cursorclass"] = MySQLdb.cursors.SSCursor
    connection = MySQLdb.connect(passwd=password, db=database, **options)
    connection.autocommit(True)
    return MySQLdb, connection


def argument(field):
    kind, value = field.split(":", 1)
    if kind == "i":
        return int(value)
    if kind == "m":
        return decimal.Decimal(value)
    if kind == "f":
        return float(value)
    if kind == "b":
        return bytes.fromhex(value)
    if kind == "d":
        return datetime.date.fromisoformat(value)
    if kind == "t":
        return datetime.datetime.fromisoformat(value)
    if kind == "n":
        return None
    if kind == "k":
        return os.environ["LATCHKEY_KEY_" + value.upper()]
    if kind == "l":
        return "zebra é✓ 'q' \\\n" * int(value)
    return value


def show(value):
    if value is None:
        return r"\N"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ", "milliseconds")
    text = str(value)
    octets = text.encode()
    if len(octets) <= 1000:
        return text
    total = 0
    for octet in octets:
        total = (total * 31 + octet) % 2147483647
    return f"len={len(octets)} sum={total}"


def report(verb, label, cursor):
    if cursor.description is None:
        number = f" id={cursor.lastrowid}" if verb == "insert" else ""
        return [f"{label}\taffected={cursor.rowcount}{number}"]
    return ["\t".join([label, *map(show, row)]) for row in cursor.fetchall()]


def step(connection, verb, label, sql, sets):
    with connection.cursor() as cursor:
        if verb == "text":
            cursor.execute(sql)
            return report(verb, label, cursor)
        if verb == "begin":
            connection.begin()
        elif verb == "commit":
            connection.commit()
        elif verb == "rollback":
            connection.rollback()
        elif verb == "batch":
            cursor.executemany(sql.replace("?", "%s"), sets)
        else:
            lines = []
            for values in sets:
                cursor.execute(sql.replace("?", "%s"), values)
                lines += report(verb, label, cursor)
            return lines
        return [f"{label}\tdone"]


def read(files):
    steps = []
    for name in files:
        with open(name, encoding="utf-8") as file:
            for line in file:
                line = line.rstrip("\n")
                if line.startswith("\t"):
                    steps[-1][3].append([argument(field) for field in line[1:].split("\t")])
                else:
                    verb, label, sql = (line.split("\t") + [""])[:3]
                    steps.append((verb, label, sql, []))
    return steps


def main():
    sys.stdout.reconfigure(encoding="utf-8")
    driver, connection = connect(sys.argv[1])
    for verb, label, sql, sets in read(sys.argv[2:]):
        try:
            lines = step(connection, verb, label, sql, sets)
        except driver.Error as error:
            lines = [f"{label}\terror={error.args[0]}"]
        for line in lines:
            print(line)
    connection.close()


main()
