"""Calls every procedure through the driver that the first argument names."""

import importlib
import os
import sys

driver, user, friend = importlib.import_module(sys.argv[1]), sys.argv[2], sys.argv[3]
password, new_password, secret, other_key = "pass word", "new pass word", "0f" * 32, os.environ["LATCHKEY_KEY"]
conn = driver.connect(host="127.0.0.1", port=3307, user="app", password=os.environ["LATCHKEY_PASSWORD"], database="journal")

# snippet: docs/keys.md: def call(sql, *values):

assert status["owner"] == user, "status"
assert unlocked["key_id"] == enrolled["key_id"], "unlocked"
assert changed["recovery_code"] == "", "changed"
assert recovered["recovery_code"] != enrolled["recovery_code"], "recovered"
assert renewed["recovery_code"] != recovered["recovery_code"], "renewed"
assert rotated["old_key_id"] == enrolled["key_id"], "rotated"
assert forgotten["owner"] == user, "forgotten"
print("status\nunlocked\nchanged\nrecovered\nrenewed\nrotated\nforgotten")
print(call("CALL latchkey.status()")[0]["keys"], "keys")
