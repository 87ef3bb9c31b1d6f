"""The README's listeners for SQLAlchemy, over the driver that the first argument names."""

import contextvars
import os
import sys

import sqlalchemy
import sqlalchemy.event

current_key = contextvars.ContextVar("current_key")
engine = sqlalchemy.create_engine(
    sqlalchemy.engine.URL.create("mysql+" + sys.argv[1], "app", os.environ["LATCHKEY_PASSWORD"], "127.0.0.1", 3307, "journal"),
    pool_size=1, max_overflow=0)

# snippet: README.md: @sqlalchemy.event.listens_for(engine, "checkout")

def request(key, sql, **values):
    def run():
        if key is not None:
            current_key.set(key)
        with engine.begin() as connection:
            return connection.execute(sqlalchemy.text(sql), values)

    try:
        return contextvars.Context().run(run)
    except sqlalchemy.exc.DBAPIError as error:
        return error.orig.args[0]


def read(key):
    def run():
        if key is not None:
            current_key.set(key)
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text("SELECT title, body FROM entries WHERE user_id = :user"), {"user": sys.argv[2]}).fetchall()

    try:
        return contextvars.Context().run(run)
    except sqlalchemy.exc.DBAPIError as error:
        return error.orig.args[0]


request(os.environ["LATCHKEY_KEY"], "INSERT INTO entries (user_id, title, body) VALUES (:user, 'kept', 'text')", user=sys.argv[2])
print(*read(os.environ["LATCHKEY_KEY"])[0])
print(read(None), read("LK1-NONSENSE"), read(os.environ["LATCHKEY_OTHER_KEY"]))
