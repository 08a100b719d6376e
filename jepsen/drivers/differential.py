"""Runs scripts on Meridian and on PostgreSQL, statement by statement, and tells where they differ.

usage: differential.py MERIDIAN_PORT POSTGRESQL_PORT SCRIPT...

A statement ends with a semicolon at the end of a line. Compared are column names and types, rows, command tags, and of errors the
SQLSTATE and the message. A line before a statement says that a difference is meant, and why:

    -- refused: why    Meridian does not have it, and says so by name (0A000)
    -- differs: why    the answers differ in another way

Such a line is itself a complaint once it no longer holds. It ends with status 1 if there are complaints.
"""

import sys

import psycopg

MARKS = ("refused", "differs")


def connect(port):
    where = f"host=127.0.0.1 port={port} user=postgres dbname=postgres options='-c TimeZone=UTC'"
    connection = psycopg.connect(where, autocommit=True)
    connection.execute("SET client_min_messages = error")
    connection.execute("SET extra_float_digits = 1")
    return connection


class Raw(psycopg.adapt.Loader):
    """Values as the server wrote them."""

    def load(self, data):
        return bytes(data).decode()


def statements(text):
    gathered, known = [], None
    for line in text.splitlines():
        mark = next((mark for mark in MARKS if line.startswith(f"-- {mark}: ")), None)
        if not gathered and mark:
            known = mark
            continue
        if not gathered and (line.startswith("--") or not line.strip()):
            continue
        gathered.append(line)
        if line.rstrip().endswith(";"):
            yield "\n".join(gathered), known
            gathered, known = [], None


def outcome(connection, statement):
    cursor = connection.cursor()
    cursor.adapters.register_loader(0, Raw)
    for info in list(cursor.adapters.types):
        cursor.adapters.register_loader(info.oid, Raw)
        if info.array_oid:
            cursor.adapters.register_loader(info.array_oid, Raw)
    try:
        cursor.execute(statement.encode())
    except psycopg.Error as error:
        if connection.closed:
            raise
        return ["ERROR " + str(error.diag.sqlstate), str(error.diag.message_primary)]
    said = []
    while True:
        if cursor.description:
            said.append(" | ".join(f"{column.name}:{column.type_code}" for column in cursor.description))
            said += [" | ".join("NULL" if value is None else str(value) for value in row) for row in cursor.fetchall()]
        said.append(str(cursor.statusmessage))
        if not cursor.nextset():
            return said


def complaint(known, ours, theirs):
    """What is wrong with two outcomes; None if nothing is."""
    if known is None:
        return None if ours == theirs else "they differ"
    if ours == theirs:
        return "they no longer differ, although it says so"
    if known == "refused" and ours[0] != "ERROR 0A000":
        return "it is not refused by name, although it says so"
    return None


def main():
    meridian, postgresql = connect(int(sys.argv[1])), connect(int(sys.argv[2]))
    compared = accepted = complaints = 0
    for path in sys.argv[3:]:
        for connection in (meridian, postgresql):
            connection.execute("DROP SCHEMA IF EXISTS differential CASCADE")
            connection.execute("CREATE SCHEMA differential")
            connection.execute("SET search_path = differential, public")
        with open(path, encoding="utf-8") as script:
            for statement, known in statements(script.read()):
                compared += 1
                ours, theirs = outcome(meridian, statement), outcome(postgresql, statement)
                accepted += known is not None
                wrong = complaint(known, ours, theirs)
                if wrong is None:
                    continue
                complaints += 1
                print(f"{path}: {wrong}: {statement}")
                print("    Meridian:   " + "\n                ".join(ours))
                print("    PostgreSQL: " + "\n                ".join(theirs))
    print(f"{compared} statements compared, {accepted} known to differ, {complaints} complaints")
    sys.exit(1 if complaints else 0)


main()
