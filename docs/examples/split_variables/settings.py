"""Settings as many applications have them: the address of the database in parts."""

import os

SERVER = os.environ.get("POSTGRES_SERVER", "localhost")
PORT = os.environ.get("POSTGRES_PORT", "5432")
USER = os.environ.get("POSTGRES_USER", "app")
PASSWORD = os.environ.get("POSTGRES_PASSWORD", "")
DB = os.environ.get("POSTGRES_DB", "app")
DATABASE_URL = f"postgresql+psycopg://{USER}:{PASSWORD}@{SERVER}:{PORT}/{DB}"
