from sqlalchemy import text


def test_notes_are_numbered_from_one(pg_connection):
    insert = text("INSERT INTO notes (body) VALUES ('milk') RETURNING id")

    assert pg_connection.scalar(insert) == 1
    assert pg_connection.scalar(text("SHOW work_mem")) == "64MB"
