# SPDX-License-Identifier: MIT
"""sqlite_client.py JOURNAL_MODE DATABASE TRANSACTIONS: insert one row a transaction; prints "SECONDS COUNT"."""
import sqlite3
import sys
import time


def main():
    mode, path, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    database = sqlite3.connect(path, isolation_level=None)
    got = database.execute(f"pragma journal_mode={mode}").fetchone()[0]
    if got != mode:
        sys.exit(f"the journal mode is {got}, not {mode}")
    database.execute("pragma synchronous=full")
    database.execute("create table item (id integer primary key, name text, body blob)")
    body = bytes(range(200))
    start = time.monotonic()
    for number in range(count):
        database.execute("begin immediate")
        database.execute("insert into item (name, body) values (?, ?)", (f"item {number}", body))
        database.execute("commit")
    seconds = time.monotonic() - start
    if database.execute("select count(*) from item").fetchone()[0] != count:
        sys.exit("rows are missing")
    database.close()
    check = sqlite3.connect(path).execute("pragma integrity_check").fetchone()[0]
    if check != "ok":
        sys.exit(f"integrity check: {check}")
    print(f"{seconds:.9f} {count}")


main()
