"""asyncpg: create, insert, query, fail, roll back, go on. It uses binary formats throughout."""

import asyncio
import datetime
import decimal
import sys

import asyncpg


async def main() -> None:
    connection = await asyncpg.connect(host="127.0.0.1", port=int(sys.argv[1]), user="postgres", database="postgres")
    await connection.execute("DROP TABLE IF EXISTS asyncpg_check")
    await connection.execute(
        "CREATE TABLE asyncpg_check (id bigint PRIMARY KEY, name text, price numeric, day date, big double precision, ok boolean, doc jsonb)"
    )
    day = datetime.date(2026, 2, 28)
    async with connection.transaction():
        await connection.execute(
            "INSERT INTO asyncpg_check VALUES ($1, $2, $3, $4, $5, $6, $7)",
            1, "name", decimal.Decimal("-0.001"), day, 1e300, True, '{"a": [1, null]}',
        )
    row = await connection.fetchrow("SELECT * FROM asyncpg_check WHERE id = $1", 1)
    assert row["name"] == "name" and row["price"] == decimal.Decimal("-0.001"), row
    assert row["day"] == day and row["big"] == 1e300 and row["ok"] is True, row

    try:
        async with connection.transaction():
            await connection.execute("INSERT INTO asyncpg_check (id) VALUES (2)")
            await connection.execute("INSERT INTO asyncpg_check (id) VALUES (1)")
        raise SystemExit("a duplicate key was accepted")
    except asyncpg.UniqueViolationError:
        pass
    assert await connection.fetchval("SELECT count(*) FROM asyncpg_check") == 1

    await connection.executemany("INSERT INTO asyncpg_check (id, name) VALUES ($1, $2)", [(i, str(i)) for i in range(10, 60)])
    async with connection.transaction():
        seen = [row["id"] async for row in connection.cursor("SELECT id FROM asyncpg_check WHERE id >= 10 ORDER BY id", prefetch=7)]
    assert seen == list(range(10, 60)), seen
    rows = await connection.fetch("SELECT id FROM asyncpg_check WHERE id = ANY($1) ORDER BY id", [11, 12, 1000])
    assert [row["id"] for row in rows] == [11, 12], rows
    try:
        await connection.fetch("SELECT nothing FROM asyncpg_check")
        raise SystemExit("an unknown column was found")
    except asyncpg.UndefinedColumnError:
        pass
    assert await connection.fetchval("SELECT 1 + 1") == 2
    await connection.close()
    print("asyncpg", asyncpg.__version__, "ok")


asyncio.run(main())
