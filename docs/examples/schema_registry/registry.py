"""Avro by Confluent's API, which most registries have, and its framing of messages."""

import json
import struct
from io import BytesIO
from urllib.request import Request, urlopen

from fastavro import parse_schema, schemaless_reader, schemaless_writer

PATH = "/apis/ccompat/v7"  # Confluent's own has none
FRAME = struct.Struct(">bI")


def ask(url, path, body=None, method=None):
    """Send a request to a registry, and return its answer."""
    content = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    with urlopen(Request(f"{url}{PATH}{path}", content, headers, method=method)) as answer:
        return json.load(answer)


def register(url, subject, schema):
    """Register a schema, and return its number."""
    return ask(url, f"/subjects/{subject}/versions", {"schema": json.dumps(schema)})["id"]


def breaks(url, subject, schema):
    """Tell whether a schema cannot take the place of the latest one."""
    path = f"/compatibility/subjects/{subject}/versions/latest"
    return not ask(url, path, {"schema": json.dumps(schema)})["is_compatible"]


def encode(number, schema, message):
    """Return a message as it is sent: the schema's number, and the values."""
    out = BytesIO()
    out.write(FRAME.pack(0, number))
    schemaless_writer(out, parse_schema(schema), message, strict=True)
    return out.getvalue()


def decode(url, content, expected):
    """Return a message as the reader's schema has it; the registry knows the writer's."""
    _, number = FRAME.unpack(content[: FRAME.size])
    written = json.loads(ask(url, f"/schemas/ids/{number}")["schema"])
    sent = BytesIO(content[FRAME.size :])
    return schemaless_reader(sent, parse_schema(written), parse_schema(expected))


def empty(server):
    """Remove what a test has registered: `reset=` calls it with the server."""
    for subject in ask(server.url("http"), "/subjects"):
        ask(server.url("http"), f"/subjects/{subject}", method="DELETE")
        ask(server.url("http"), f"/subjects/{subject}?permanent=true", method="DELETE")
