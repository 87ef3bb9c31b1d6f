"""The README's way of pushing a key, through the driver that the first argument names."""

import importlib
import os
import sys

pymysql = importlib.import_module(sys.argv[1])
password, key = os.environ["LATCHKEY_PASSWORD"], os.environ["LATCHKEY_KEY"]

# snippet: README.md: conn = pymysql.connect(

with conn.cursor() as cur:
    cur.execute("INSERT INTO entries (user_id, title, body) VALUES (%s, %s, %s)", (sys.argv[2], "kept", "text"))
    cur.execute("SELECT title, body FROM entries WHERE user_id = %s", (sys.argv[2],))
    print(*cur.fetchone())
conn.commit()
