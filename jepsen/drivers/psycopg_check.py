"""psycopg 3: create, insert, query, fail, roll back, go on."""

import datetime
import decimal
import sys
import uuid

import psycopg

port = int(sys.argv[1])
with psycopg.connect(f"host=127.0.0.1 port={port} user=postgres dbname=postgres") as connection:
    connection.autocommit = True
    connection.execute("DROP TABLE IF EXISTS psycopg_check")
    connection.execute(
        "CREATE TABLE psycopg_check (id int PRIMARY KEY, name text NOT NULL, price numeric(10,2), at timestamptz, tag uuid, data bytea, parts int[])"
    )
    connection.autocommit = False

    at = datetime.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=datetime.timezone.utc)
    tag = uuid.uuid4()
    with connection.transaction():
        connection.execute(
            "INSERT INTO psycopg_check VALUES (%s, %s, %s, %s, %s, %s, %s)",
            (1, "één", decimal.Decimal("12.50"), at, tag, b"\x00\xff", [1, 2, 3]),
        )
    for binary in (False, True):
        cursor = connection.cursor(binary=binary)
        row = cursor.execute("SELECT name, price, at, tag, data, parts FROM psycopg_check WHERE id = %s", (1,)).fetchone()
        assert row == ("één", decimal.Decimal("12.50"), at, tag, b"\x00\xff", [1, 2, 3]), row
    connection.commit()

    try:
        connection.execute("INSERT INTO psycopg_check VALUES (1, 'again')")
        raise SystemExit("a duplicate key was accepted")
    except psycopg.errors.UniqueViolation:
        pass
    try:
        connection.execute("SELECT 1")
        raise SystemExit("a failed transaction went on")
    except psycopg.errors.InFailedSqlTransaction:
        pass
    connection.rollback()

    with connection.cursor() as cursor:
        cursor.executemany("INSERT INTO psycopg_check (id, name) VALUES (%s, %s)", [(i, f"n{i}") for i in range(2, 102)])
        with cursor.copy("COPY psycopg_check (id, name) FROM STDIN") as copy:
            for i in range(200, 300):
                copy.write_row((i, f"c{i}"))
    connection.commit()
    count, total = connection.execute("SELECT count(*), sum(id) FROM psycopg_check").fetchone()
    assert (count, total) == (201, 1 + sum(range(2, 102)) + sum(range(200, 300))), (count, total)
    for _ in range(10):  # prepared after the fifth
        assert connection.execute("SELECT name FROM psycopg_check WHERE id = %s", (50,)).fetchone() == ("n50",)
    connection.commit()
print("psycopg", psycopg.__version__, "ok")
