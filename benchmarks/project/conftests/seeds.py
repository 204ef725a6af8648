"""Writes the files of seeds: as many rows as are asked for, each in every form."""

from __future__ import annotations

import os
from pathlib import Path

COPY = '''"""Seeds that a function sends with COPY."""


def copy(connection):
    with open("users.csv", "rb") as rows:
        cursor = connection.connection.dbapi_connection.cursor()
        with cursor.copy("COPY users (id, email) FROM STDIN WITH (FORMAT csv, HEADER)") as into:
            into.write(rows.read())
    connection.exec_driver_sql("SELECT setval('users_id_seq', max(id)) FROM users")
'''

rows = [
    (number, f"{number}@example.com") for number in range(1, 1 + int(os.environ["BENCHMARK_ROWS"]))
]
if not Path("users.csv").exists():
    Path("users.csv").write_text(
        "id,email\n" + "".join(f"{number},{email}\n" for number, email in rows), "utf-8"
    )
    Path("seeds.sql").write_text(
        "".join(f"INSERT INTO users (email) VALUES ('{email}');\n" for _, email in rows), "utf-8"
    )
    Path("seeding.py").write_text(COPY, "utf-8")
