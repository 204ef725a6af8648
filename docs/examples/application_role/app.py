import psycopg


def add_countries(connection: psycopg.Connection) -> None:
    connection.execute("INSERT INTO countries VALUES ('FR', 'France')")
