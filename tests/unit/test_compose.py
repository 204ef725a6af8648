"""Compose files: variables, forms of YAML, files put together, what becomes of services."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.errors import SettingsError
from pytest_berth.services import discovery
from pytest_berth.services.compose.declare import Composed, compose
from pytest_berth.services.compose.interpolation import Variables
from pytest_berth.services.generic import ready, reset

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}-$$A", "a-a-$A"),
        ("${NONE:-b}${EMPTY:-c}${EMPTY-d}${NONE-e}", "bce"),
        ("${A:+x}${EMPTY:+y}${EMPTY+z}${NONE+w}", "xz"),
        ("${NONE:-${EMPTY:-${A}b}c}", "abc"),
        ("${A:?wrong}${EMPTY?wrong}", "a"),
        ("${NONE:-a:b?c}", "a:b?c"),
        ("$NONE|${NONE}", "|"),
    ],
)
def test_variables_are_those_of_the_specification(text: str, expected: str) -> None:
    assert Variables({"A": "a", "EMPTY": ""}).replaced(text) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("${NONE:?is needed}", "NONE is not set: is needed"),
        ("${EMPTY:?}", "EMPTY is not set: it is required"),
        ("${A", "has a brace that is not closed"),
        ("${A!b}", "has no variable in its braces"),
        ("a $", "has a $ without a variable"),
    ],
)
def test_what_is_wrong_with_a_variable_is_told(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told.replace("$", r"\$")):
        Variables({"A": "a", "EMPTY": ""}).replaced(text)


def read(path: Path, *texts: str, profiles: tuple[str, ...] = (), **environment: str) -> Composed:
    """Return what files with these texts say."""
    pytest.importorskip("yaml")
    paths = [path / f"{number}.yaml" for number, _ in enumerate(texts)]
    for each, text in zip(paths, texts, strict=True):
        each.write_text(text)
    return compose(paths, profiles, discovery.find().services, environment, "pytest.ini")


def one(path: Path, text: str, **environment: str) -> Any:
    """Return the only service of any image."""
    (found,) = read(
        path, "services:\n  box:\n    image: an/image:1\n" + text, **environment
    ).declared
    return found


def test_a_service_of_any_image_is_as_the_file_has_it(tmp_path: Path) -> None:
    (tmp_path / "one.env").write_text("A=file\nB='two words'\nC=$A\n")
    (tmp_path / "app.conf").write_text("x")
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "a.txt").write_text("x")
    (tmp_path / "data").mkdir()
    found = one(
        tmp_path,
        """
    ports: ["127.0.0.1:80:8080", 9000-9001, "53:53/udp", {target: 7000, name: admin}]
    expose: [5000, "8080"]
    env_file: [one.env, {path: none.env, required: false}]
    environment: {A: own, ON: on, YES: true, VERSION: 1.10, GIVEN: }
    command: serve "two words"
    entrypoint: [/bin/app, --fast]
    user: nobody
    init: true
    tmpfs: /run:size=1m
    volumes: [./app.conf:/etc/app.conf, ./conf:/etc/conf:ro, ./data:/data, named:/more]
    healthcheck: {test: curl -f localhost}
    x-berth: {reset: "POST,admin:/reset", name: other}
""",
        GIVEN="given",
    )
    assert found.name == "other"
    assert list(found.ports.items()) == [
        ("8080", 8080),
        ("9000", 9000),
        ("9001", 9001),
        ("admin", 7000),
        ("5000", 5000),
    ]
    assert found.environment == {
        "A": "own",
        "B": "two words",
        "C": "$A",
        "ON": "on",
        "YES": "true",
        "VERSION": "1.10",
        "GIVEN": "given",
    }
    assert found.command == ("serve", "two words")
    assert found.options == {"entrypoint": ["/bin/app", "--fast"], "user": "nobody", "init": True}
    assert found.in_memory == ("/run",)
    assert sorted(found.files) == ["/etc/app.conf", "/etc/conf/a.txt"]
    assert found.ready == ready.CommandSucceeds(("/bin/sh", "-c", "curl -f localhost"))
    assert found.reset == reset.Request("POST", "admin", "/reset")


def test_several_files_and_profiles(tmp_path: Path) -> None:
    first = """
services:
  box: &box
    image: an/image:${TAG:-$OTHER}
    ports: ["80:80"]
    environment: [A=1, B=1]
    command: [one]
  more: {<<: *box, profiles: [all]}
  base: {extends: box, image: another/image}
"""
    second = """
services:
  box:
    ports: ["81:81", "8080:80"]
    environment: {B: 2}
    command: [two]
"""
    box, base = read(tmp_path, first, second, OTHER="1").declared
    assert (box.image, box.ports, box.command) == ("an/image:1", {"80": 80, "81": 81}, ("two",))
    assert box.environment == {"A": "1", "B": "2"}
    assert (base.name, base.image, base.ports) == ("base", "another/image", {"80": 80})
    names = [each.name for each in read(tmp_path, first, profiles=("all",)).declared]
    assert names == ["box", "more", "base"]


@pytest.mark.parametrize(
    ("image", "service", "version"),
    [
        ("postgres:15-alpine", "postgres", "15"),
        ("docker.io/library/postgres:17.2", "postgres", "17.2"),
        ("mirror.example.com:5000/postgis/postgis:16-3.4@sha256:00", "postgres", "16"),
        ("pgvector/pgvector:0.8.0-pg17", "postgres", "17"),
        ("timescale/timescaledb:latest-pg16", "postgres", "16"),
        ("valkey/valkey:8-alpine", "redis", "8"),
        ("apache/kafka:4.1.0", "kafka", "4.1.0"),
        ("mariadb:11", "mysql", "11"),
        ("mongo:8", "mongodb", "8"),
        ("rabbitmq:4-management-alpine", "rabbitmq", "4"),
        ("minio/minio:RELEASE.2025-01-01T00-00-00Z", "s3", ""),
        ("wiremock/wiremock:3.9.1-alpine", "wiremock", "3.9.1"),
        ("docker.elastic.co/elasticsearch/elasticsearch:8.15.0", "elasticsearch", "8.15.0"),
        ("opensearchproject/opensearch:3", "opensearch", "3"),
    ],
)
def test_known_images_become_berths_own(
    tmp_path: Path, image: str, service: str, version: str
) -> None:
    found = read(tmp_path, f"services: {{it: {{image: '{image}', ports: ['1:1']}}}}")
    prefix = {"postgres": "pg", "mongodb": "mongo"}.get(service, service)
    assert found.become == [f"it is {service}"]
    assert found.declared == found.left == []
    assert found.presets[f"berth_{prefix}_image"].value == image
    told = found.presets.get(f"berth_{prefix}_version")
    assert (told.value if told else "") == version


def test_what_cannot_be_honoured_is_named(tmp_path: Path) -> None:
    (tmp_path / "init.sh").write_text("")
    found = read(
        tmp_path,
        """
include: [other.yaml]
services:
  db:
    image: postgres
    environment: {POSTGRES_INITDB_ARGS: x, PGDATA: /x}
    volumes: [./init.sh:/docker-entrypoint-initdb.d/init.sh]
    command: postgres --fast
    shm_size: 1gb
  second: {image: "postgres:16", ports: ["5432"]}
  queue: {image: "confluentinc/cp-kafka:7.6.1"}
  app: {build: ., ports: ["80:80"]}
  job: {image: an/image}
  box: {image: "an/image:$UNSET", ports: ["80"], pid: host, volumes: [./none:/none]}
""",
    )
    assert found.become == [
        "db is postgres",
        "second is of any image",
        "queue is kafka (berth's own image, not confluentinc/cp-kafka:7.6.1)",
        "box is of any image",
    ]
    assert found.left == [
        "include of 0.yaml",
        "variables that are not set, and empty: UNSET",
        "db.environment.POSTGRES_INITDB_ARGS",
        "db.volumes./docker-entrypoint-initdb.d/init.sh",
        "db.command",
        "db.shm_size",
        "app (it is built, and has no image)",
        "job (it names no port)",
        "box.volumes./none",
        "box.pid",
    ]


def test_what_images_are_told_by_variables_and_commands_is_honoured(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
services:
  broker:
    image: apache/kafka:4.1.0
    environment:
      KAFKA_NODE_ID: 7
      KAFKA_LISTENER_SECURITY_PROTOCOL_MAP: PLAINTEXT:PLAINTEXT
      KAFKA_ADVERTISED_LISTENERS: PLAINTEXT://localhost:9092
      KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR: 3
      KAFKA_AUTO_CREATE_TOPICS_ENABLE: "false"
      KAFKA_A__B___C: 1
      KAFKA_HEAP_OPTS: -Xmx1g
      KAFKA_SASL_ENABLED_MECHANISMS: PLAIN
  sql:
    image: mysql:8.4
    command: mysqld --sql-mode=ANSI_QUOTES --skip-log-bin --port 3307 --character-set-server utf8
    environment: {MYSQL_ROOT_PASSWORD: a, MYSQL_DATABASE: b, MYSQL_ALLOW_EMPTY_PASSWORD: 1, OWN: 1}
  cache: {image: "redis:8", command: redis-server --maxmemory 64mb --maxmemory-policy allkeys-lru}
  files:
    image: minio/minio
    command: server /data --console-address :9001
    environment: {MINIO_ROOT_USER: a, MINIO_ROOT_PASSWORD: b, MINIO_REGION: eu-west-1}
  queue: {image: "rabbitmq:4", environment: {RABBITMQ_DEFAULT_USER: a, RABBITMQ_DEFAULT_VHOST: b}}
  db: {image: "postgres:17", command: "sh -c fsync=off", x-berth: {scope: worker}}
""",
    )
    presets = {name: preset.value for name, preset in found.presets.items()}
    assert presets["berth_kafka_settings"] == ["auto.create.topics.enable = false", "a-b_c = 1"]
    assert presets["berth_mysql_settings"] == [
        "sql-mode = ANSI_QUOTES",
        "skip-log-bin =",
        "character-set-server = utf8",
    ]
    assert presets["berth_redis_settings"] == [
        "maxmemory = 64mb",
        "maxmemory-policy = allkeys-lru",
    ]
    assert presets["berth_s3_region"] == "eu-west-1"
    assert presets["berth_pg_scope"] == "worker"
    has_own = "(berth has its own, and tells the application by berth_export)"
    assert found.left == [
        "broker.environment.KAFKA_HEAP_OPTS",
        "broker.environment.KAFKA_SASL_ENABLED_MECHANISMS",
        "sql.environment.OWN",
        f"sql.environment.MYSQL_DATABASE, MYSQL_ROOT_PASSWORD {has_own}",
        "sql.command (port = 3307)",
        f"files.environment.MINIO_ROOT_USER, MINIO_ROOT_PASSWORD {has_own}",
        f"queue.environment.RABBITMQ_DEFAULT_USER, RABBITMQ_DEFAULT_VHOST {has_own}",
        "db.command",
    ]


def test_what_is_misspelt_but_may_stay_is_told_with_the_nearest_word(tmp_path: Path) -> None:
    text = "services: {box: {image: b, ports: [1], enviroment: {}, pid: host, profiles: [test]}}"
    found = read(tmp_path, text, profiles=["test", "tset"])
    assert found.left == [
        "the profile 'tset', which no service has (did you mean 'test'?)",
        "box.enviroment (did you mean 'environment'?)",
        "box.pid",
    ]


@pytest.mark.parametrize(
    ("service", "told"),
    [
        ("x-brth: {reset: restart}", "'x-brth' is unknown, did you mean 'x-berth'?."),
        ("x-berth: restart", "x-berth is 'restart', and has to be a map, such as *"),
        ("x-berth: {rset: restart}", "x-berth has an unknown word 'rset', did you mean 'reset'?."),
        ("x-berth: {reset: true}", "x-berth.reset is True, and has to be a text."),
        ("x-berth: {reset: [restart]}", "x-berth.reset is ['restart'], and has to be a text."),
        ("x-berth: {reset: restrat}", "reset=restrat is none of its forms*"),
        ("x-berth: {scope: tset}", "*test*"),
        ("x-berth: {name: Box}", "'Box' is no name for fixtures: let x-berth.name begin *"),
        ("depends_on: [dbb]", "it depends on 'dbb', which is not there, did you mean 'db'?."),
    ],
)
def test_slips_in_a_service_are_told(tmp_path: Path, service: str, told: str) -> None:
    from fnmatch import fnmatchcase

    text = f"services: {{box: {{image: b, ports: [1], {service}}}, db: {{image: postgres}}}}"
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    begin = "the service 'box' of 0.yaml cannot be used: "
    assert caught.value.what.startswith(begin)
    expected = told.replace("[", "[[]")
    assert fnmatchcase(caught.value.what.removeprefix(begin), expected), caught.value.what


def test_words_for_any_image_are_refused_at_berths_own(tmp_path: Path) -> None:
    text = "services: {db: {image: postgres, x-berth: {reset: restart}}}"
    with pytest.raises(SettingsError, match=r"x-berth\.reset is for services of any image"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("services: {a: b}", "the service 'a' is 'b', and has to be a map"),
        ("services: {a: {environment: b}}", "the service 'a': environment is 'b', and has to be a"),
        (
            "services: {a: {ports: 80:80}}",
            "the service 'a': ports is '80:80', and has to be a list",
        ),
        ("services: {a: {ports: [x]}}", "the service 'a': 'x' is no port"),
        ("services: {a: {healthcheck: [x]}}", "the service 'a': healthcheck is ['x'], and has to"),
        ("services: {a: {extends: [b]}}", "the service 'a': extends is ['b'], and has to be"),
        (
            "services: {a: {extends: bsae}, base: {}}",
            "the service 'a': it extends 'bsae', which is not there, did you mean 'base'?",
        ),
    ],
)
def test_wrong_kinds_are_told_with_the_service(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert caught.value.why.startswith(why)


def test_a_misspelt_file_is_told_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "compose.test.yaml").touch()
    with pytest.raises(SettingsError) as caught:
        compose([tmp_path / "compose.tset.yaml"], (), discovery.ours(), {}, "the ini file")
    assert "did you mean 'compose.test.yaml'?" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "the Compose file 0.yaml cannot be read."),
        ("services: [a]", "the Compose file 0.yaml cannot be read."),
        ("services: {a: {image: '${B:?b}'}}", "the Compose file 0.yaml cannot be read."),
        ("services: {a: {image: b, ports: [x]}}", "the Compose file 0.yaml cannot be read."),
        ("services: {a: {image: b, extends: c}}", "the Compose file 0.yaml cannot be read."),
        (
            "services: {a: {image: b, env_file: none.env}}",
            "the service 'a' of 0.yaml cannot be used: its env_file *none.env is not there.",
        ),
        (
            "services: {a: {image: b, ports: [1], x-berth: {reset: 'GET,2:/'}}}",
            "the service 'a' of 0.yaml cannot be used: it has no port '2', use one of: 1.",
        ),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, text: str, told: str) -> None:
    from fnmatch import fnmatch

    with pytest.raises(SettingsError) as caught:
        read(tmp_path, text)
    assert fnmatch(caught.value.what, told), caught.value.what


def test_what_others_depend_on_comes_first(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        """
services:
  my-front: {image: an/image, ports: [1], depends_on: [shop, built]}
  shop: {image: an/image, ports: [1], depends_on: {db: {condition: service_healthy}}}
  db: {image: "postgres:17"}
  built: {build: .}
""",
    )
    assert [each.name for each in found.declared] == ["shop", "my_front"]
    assert [each.depends_on for each in found.declared] == [{"db": "postgres"}, {"shop": "shop"}]
    assert {each.scope for each in found.declared} == {"worker"}
    assert "my_front.depends_on.built" in found.left


def test_a_circle_is_told(tmp_path: Path) -> None:
    one = "{image: an/image, ports: [1], depends_on: [%s]}"
    with pytest.raises(SettingsError, match="depend on each other in a circle"):
        read(tmp_path, f"services: {{a: {one % 'b'}, b: {one % 'a'}}}")
