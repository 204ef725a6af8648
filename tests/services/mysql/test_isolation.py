"""How tests get a clean MySQL: by rollback, by restoring what was written to, by a new clone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

SCHEMA = """
CREATE TABLE parents (id int AUTO_INCREMENT PRIMARY KEY, name varchar(20) UNIQUE);
CREATE TABLE children (
  id int AUTO_INCREMENT PRIMARY KEY, parent int NOT NULL,
  CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE CASCADE
);
CREATE TABLE sizes (name varchar(20) PRIMARY KEY, size float, twice float AS (size * 2), raw blob);
CREATE TABLE keyless (value int);
CREATE TABLE audit (id int AUTO_INCREMENT PRIMARY KEY, what varchar(40));
CREATE TABLE untransacted (id int AUTO_INCREMENT PRIMARY KEY) ENGINE = MyISAM;
CREATE VIEW names AS SELECT name FROM parents;
CREATE VIEW all_names AS SELECT name FROM names;
DELIMITER ;;
CREATE TRIGGER noted AFTER INSERT ON sizes FOR EACH ROW
BEGIN
  INSERT INTO audit (what) VALUES (NEW.name);
END;;
DELIMITER ;
CREATE PROCEDURE wipe() TRUNCATE keyless;
"""
SEED = """
INSERT INTO parents (name) VALUES ('Anna'), ('Bert');
INSERT INTO children (parent) VALUES (1), (1), (2);
INSERT INTO sizes (name, size, raw) VALUES ('small', 0.1, x'00ff');
INSERT INTO keyless VALUES (1), (1), (2);
INSERT INTO untransacted VALUES (1), (2);
"""
CHECKS = """
TABLES = {
    "parents": [(1, "Anna"), (2, "Bert")],
    "children": [(1, 1), (2, 1), (3, 2)],
    "sizes": [("small", 0.1, 0.2, b"\\0\\xff")],
    "keyless": [(1,), (1,), (2,)],
    "audit": [(1, "small")],
    "untransacted": [(1,), (2,)],
    "all_names": [("Anna",), ("Bert",)],
}

def rows(connection, table):
    return sorted(map(tuple, connection.exec_driver_sql(f"SELECT * FROM `{table}`")))

def check(connection):
    for table, expected in TABLES.items():
        assert rows(connection, table) == expected, table
    connection.exec_driver_sql("INSERT INTO parents (name) VALUES ('next')")
    assert rows(connection, "parents")[-1] == (3, "next")
    connection.exec_driver_sql("INSERT INTO audit (what) VALUES ('next')")
    assert rows(connection, "audit")[-1] == (2, "next")
    assert [name for (name,) in connection.exec_driver_sql("SHOW TABLES")] == sorted(
        [*TABLES, "names"]
    )
    rules = "SELECT delete_rule FROM information_schema.referential_constraints"
    found = connection.exec_driver_sql(f"{rules} WHERE constraint_schema = DATABASE()").scalars()
    assert list(found) == ["CASCADE"]
    assert not connection.exec_driver_sql("SHOW EVENTS").all()
"""


@pytest.fixture
def seeded(project: Project) -> Project:
    """A project with a schema that has a bit of everything, and rows in it."""
    project.ini("berth_mysql_schema = schema.sql", "berth_mysql_seed = seed.sql")
    (project.root / "schema.sql").write_text(SCHEMA)
    (project.root / "seed.sql").write_text(SEED)
    project.write(checks=CHECKS)
    return project


def test_what_a_test_commits_is_put_back(seeded: Project) -> None:
    """Rows, numbers, cascades, triggers, TRUNCATE, changed structure, open transactions."""
    seeded.write(
        test_it="""
        import pytest
        from checks import check

        DONE = {
            "nothing": [],
            "insert": ["INSERT INTO parents (name) VALUES ('Carl')"],
            "case": ["UPDATE parents SET name = 'ANNA' WHERE id = 1"],
            "swap": [
                "UPDATE parents SET name = 'x' WHERE id = 1",
                "UPDATE parents SET name = 'Anna' WHERE id = 2",
                "UPDATE parents SET name = 'Bert' WHERE id = 1",
            ],
            "cascade": ["DELETE FROM parents WHERE id = 1"],
            "trigger": ["INSERT INTO sizes (name) VALUES ('big')", "DELETE FROM audit"],
            "triggered": ["DELETE FROM sizes", "DELETE FROM audit"],
            "keyless": ["DELETE FROM keyless WHERE value = 1"],
            "untransacted": ["DELETE FROM untransacted"],
            "truncate": ["TRUNCATE keyless", "INSERT INTO keyless VALUES (9)"],
            "procedure": ["CALL wipe()"],
            "number": ["ALTER TABLE parents AUTO_INCREMENT = 100"],
            "column": ["ALTER TABLE parents ADD COLUMN more int"],
            "table": ["CREATE TABLE further (id int)", "DROP TABLE audit"],
            "view": ["DROP VIEW all_names"],
            "routine": ["DROP TRIGGER noted", "DROP PROCEDURE wipe"],
            "rule": [
                "ALTER TABLE children DROP FOREIGN KEY of_parent",
                "ALTER TABLE children ADD CONSTRAINT of_parent"
                " FOREIGN KEY (parent) REFERENCES parents (id)",
            ],
            "event": ["CREATE EVENT daily ON SCHEDULE EVERY 1 DAY DO DELETE FROM audit"],
        }

        @pytest.mark.parametrize("what", DONE)
        def test_it(mysql_engine, what):
            with mysql_engine.begin() as connection:
                for statement in DONE[what]:
                    connection.exec_driver_sql(statement)

        @pytest.mark.parametrize("what", DONE)
        def test_after_it(mysql_engine, what):
            with mysql_engine.begin() as connection:
                check(connection)

        left = []

        def test_leaving_a_transaction_open(mysql_engine):
            connection = mysql_engine.connect()
            connection.exec_driver_sql("DELETE FROM children")
            left.append(connection)

        def test_after_that(mysql_engine):
            with mysql_engine.begin() as connection:
                check(connection)
        """,
        conftest="""
        def pytest_collection_modifyitems(items):
            items.sort(key=lambda item: getattr(item, "callspec", None) and (
                list(item.module.DONE).index(item.callspec.params["what"])) or 0)
        """,
    )
    result = seeded.run("-v")
    result.assert_outcomes(passed=38)


def test_what_a_test_changes_of_structure_without_changing_columns_is_put_back(
    project: Project,
) -> None:
    """What the schema says of the database itself, of tables, and of what a name stands for."""
    project.ini("berth_mysql_schema = schema.sql", "berth_mysql_isolation = truncation")
    (project.root / "schema.sql").write_text("""
        ALTER DATABASE CHARACTER SET latin1 COLLATE latin1_bin;
        CREATE TABLE things (id int PRIMARY KEY, size int, twice int AS (size * 2),
          CONSTRAINT positive CHECK (size > 0)) ENGINE = InnoDB CHARACTER SET utf8mb4;
        CREATE FUNCTION half(size int) RETURNS int DETERMINISTIC RETURN size / 2;
        """)
    project.write(
        test_it="""
        import pytest

        DONE = {
            "nothing": "SELECT 1",
            "text": "ALTER DATABASE CHARACTER SET utf8mb4",
            "comment": "ALTER TABLE things COMMENT = 'all'",
            "comment of a column": "ALTER TABLE things MODIFY size int COMMENT 'cm'",
            "expression": "ALTER TABLE things MODIFY twice int AS (size * 3)",
            "check": "ALTER TABLE things DROP CONSTRAINT positive,"
                " ADD CONSTRAINT positive CHECK (size > 1)",
            "partitions": "ALTER TABLE things PARTITION BY HASH (id) PARTITIONS 2",
            "format": "ALTER TABLE things ROW_FORMAT = COMPACT",
            "parameter": "DROP FUNCTION half;"
                "CREATE FUNCTION half(size bigint) RETURNS int DETERMINISTIC RETURN size / 2",
        }
        SHOWN = "SHOW CREATE DATABASE {}", "SHOW CREATE TABLE things", "SHOW CREATE FUNCTION half"
        seen = []

        @pytest.mark.parametrize("what", DONE)
        def test_it(mysql_connection, what):
            name = mysql_connection.engine.url.database
            shown = [mysql_connection.exec_driver_sql(e.format(name)).all() for e in SHOWN]
            seen.append(shown)
            assert shown == seen[0]
            assert "latin1_bin" in str(shown[0])
            for statement in DONE[what].split(";"):
                mysql_connection.exec_driver_sql(statement)

        def test_after_them(mysql_connection):
            test_it(mysql_connection, "nothing")
        """
    )
    project.run("-v").assert_outcomes(passed=10)


def test_what_refuses_to_be_put_back_is_an_error_and_nobody_sees_it(project: Project) -> None:
    project.ini("berth_mysql_schema = schema.sql")
    (project.root / "schema.sql").write_text(
        "CREATE TABLE kept (id int PRIMARY KEY);\n"
        "CREATE TRIGGER no BEFORE DELETE ON kept FOR EACH ROW SIGNAL SQLSTATE '45000'"
        " SET message_text = 'audited rows stay';\n"
    )
    project.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(mysql_engine, number):
            with mysql_engine.begin() as connection:
                assert not connection.exec_driver_sql("SELECT * FROM kept").all()
                connection.exec_driver_sql("INSERT INTO kept VALUES (1)")
        """
    )
    result = project.run()
    result.assert_outcomes(passed=2, errors=2)
    result.stdout.fnmatch_lines(["*cannot be put back*", "*why: audited rows stay"])


def test_what_a_rolled_back_test_commits_is_gone(seeded: Project) -> None:
    """Session and connection share a transaction; an error leaves them usable; DDL is told."""
    seeded.write(
        test_it="""
        import pytest
        from sqlalchemy import text
        from sqlalchemy.exc import IntegrityError
        from checks import check, rows

        def test_first(mysql_session, mysql_connection):
            mysql_session.execute(text("INSERT INTO parents (name) VALUES ('Carl')"))
            mysql_session.commit()
            with pytest.raises(IntegrityError):
                mysql_session.execute(text("INSERT INTO parents (name) VALUES ('Carl')"))
            mysql_session.rollback()
            mysql_session.execute(text("DELETE FROM children"))
            mysql_session.rollback()
            assert len(rows(mysql_connection, "parents")) == 3
            assert len(rows(mysql_connection, "children")) == 3

        def test_second(mysql_connection):
            check(mysql_connection)
            mysql_connection.exec_driver_sql("INSERT INTO untransacted VALUES (7)")
            mysql_connection.commit()

        def test_third(mysql_connection):
            check(mysql_connection)
            mysql_connection.rollback()
            assert len(rows(mysql_connection, "parents")) == 2

        def test_ddl(mysql_connection):
            mysql_connection.exec_driver_sql("INSERT INTO parents (name) VALUES ('Carl')")
            mysql_connection.exec_driver_sql("CREATE TABLE further (id int)")
            mysql_connection.exec_driver_sql("DELETE FROM children")
            mysql_connection.commit()

        def test_after_ddl(mysql_connection):
            check(mysql_connection)

        def test_closing(mysql_session, mysql_connection):
            mysql_connection.exec_driver_sql("DELETE FROM children")
            mysql_connection.commit()
            mysql_connection.close()

        def test_after_closing(mysql_session):
            check(mysql_session.connection())

        @pytest.mark.berth_mysql(isolation="truncation")
        def test_real(mysql_session):
            mysql_session.execute(text("CREATE TABLE further (id int)"))

        def test_after_it(mysql_session):
            check(mysql_session.connection())
        """,
    )
    result = seeded.run("-v")
    result.assert_outcomes(passed=9, errors=1)
    result.stdout.fnmatch_lines(
        ["*the test ended the transaction that it was to be rolled back with.*"]
    )


def test_what_the_server_does_not_count_is_put_back(seeded: Project) -> None:
    """Its settings may keep it from counting in more ways than can be asked for."""
    seeded.ini(
        "berth_mysql_schema = schema.sql",
        "berth_mysql_seed = seed.sql",
        "berth_mysql_settings = performance_schema_consumer_global_instrumentation = OFF",
    )
    seeded.write(
        test_it="""
        from checks import check

        def test_first(mysql_engine):
            with mysql_engine.begin() as connection:
                connection.exec_driver_sql("DELETE FROM keyless WHERE value = 2")
                connection.exec_driver_sql("INSERT INTO parents (name) VALUES ('Carl')")

        def test_second(mysql_engine):
            with mysql_engine.begin() as connection:
                check(connection)
        """
    )
    result = seeded.run("-v")
    result.assert_outcomes(passed=2)


def test_the_template_is_built_while_other_tests_run(seeded: Project) -> None:
    """As the settings alone say what it holds."""
    seeded.write(
        test_it="""
        from pytest_berth.run.plugin_state import PLUGIN_STATE
        from pytest_berth.run.registry import Registry
        from pytest_berth.waiting import wait_for
        from checks import check

        def test_first(pytestconfig):
            registry = Registry(pytestconfig.stash[PLUGIN_STATE].run.directory)
            assert wait_for(registry.done("mysql.template.mysql.0").exists, 60)

        def test_second(mysql_connection):
            check(mysql_connection)
        """
    )
    result = seeded.run("-v")
    result.assert_outcomes(passed=2)


def test_what_berth_sends_in_other_workers_databases_is_no_ddl_of_a_test(seeded: Project) -> None:
    """Each AUTO_INCREMENT that is put back is one: else all workers would look at all tables."""
    seeded.write(
        test_it="""
        def test_it(_mysql_namespace, mysql_engine):
            contents = _mysql_namespace._contents
            *_, seen = contents._look()
            contents._send_ddl(["ALTER TABLE parents AUTO_INCREMENT = 9"])
            assert contents._look()[1] == seen
            with mysql_engine.begin() as connection:
                connection.exec_driver_sql("ALTER TABLE parents AUTO_INCREMENT = 9")
            assert contents._look()[1] == seen + 1
        """
    )
    result = seeded.run("-v", "-p", "no:randomly")
    result.assert_outcomes(passed=1)


def test_sequences_of_mariadb_are_each_workers_own_and_stand_where_they_stood(
    project: Project,
) -> None:
    (project.root / "schema.sql").write_text(
        """
        CREATE SEQUENCE numbers;
        CREATE SEQUENCE down START WITH 9 INCREMENT BY -2 MINVALUE 1 MAXVALUE 9 NOCACHE CYCLE;
        CREATE TABLE notes (id int DEFAULT NEXTVAL(numbers) PRIMARY KEY, what varchar(9));
        CREATE VIEW lasts AS SELECT id FROM notes;
        INSERT INTO notes (what) VALUES ('one'), ('two');
        """
    )
    project.ini("berth_mysql_schema = schema.sql")
    project.write(
        test_it="""
        import pytest
        from sqlalchemy import text

        def value(connection, sql):
            return connection.execute(text(sql)).scalar()

        def use(connection, expected):
            connection.execute(text("INSERT INTO notes (what) VALUES ('more')"))
            assert value(connection, "SELECT MAX(id) FROM notes") == expected
            assert value(connection, "SELECT NEXTVAL(numbers)") == expected + 1
            assert value(connection, "SELECT NEXTVAL(down)") == 9

        @pytest.mark.parametrize("number", range(2))
        def test_committed(mysql_engine, number):
            with mysql_engine.begin() as connection:
                use(connection, 3)

        @pytest.mark.parametrize("number", range(2))
        def test_rolled_back(mysql_session, number):
            use(mysql_session, 3)

        @pytest.mark.parametrize(
            "change",
            [
                "ALTER SEQUENCE numbers INCREMENT BY 5",
                "DROP SEQUENCE numbers",
                "SELECT SETVAL(numbers, 77)",
                "CREATE SEQUENCE another",
            ],
        )
        def test_changed(mysql_engine, change):
            with mysql_engine.begin() as connection:
                use(connection, 3)
                connection.execute(text(change))

        def test_template_is_not_used(mysql_engine):
            with mysql_engine.begin() as connection:
                use(connection, 3)
                told = connection.execute(text("SHOW CREATE TABLE notes")).one()[1]
                assert f"nextval(`{mysql_engine.url.database}`.`numbers`)" in told

        @pytest.fixture(scope="class")
        def more(mysql_engine):
            with mysql_engine.begin() as connection:
                connection.execute(text("INSERT INTO notes (what) VALUES ('wide')"))

        class TestWide:
            @pytest.mark.parametrize("number", range(2))
            def test_it(self, more, mysql_engine, number):
                with mysql_engine.begin() as connection:
                    use(connection, 4)

        def test_after_it(mysql_engine):
            with mysql_engine.begin() as connection:
                use(connection, 3)
        """
    )
    project.run().assert_outcomes(passed=12)


def test_a_statement_whose_client_has_gone_is_waited_for(seeded: Project) -> None:
    """The server carries it out to its end: nothing of it is left for the next test."""
    seeded.conftest(
        """
        from pytest_berth.services.mysql.contents import Contents

        gate, end_statements = [], Contents._end_statements

        def open_gate():
            while gate:
                gate.pop().close()

        def ending(contents):
            open_gate()
            end_statements(contents)

        Contents._end_statements = ending

        def pytest_collection_modifyitems(items):
            items[:] = [each for pair in zip(items[:2], items[2:4]) for each in pair] + items[4:]
        """
    )
    seeded.write(
        test_it="""
        from urllib.parse import urlsplit
        import pymysql
        import pytest
        from checks import check
        from conftest import gate, open_gate
        from pymysql.constants import CLIENT, COMMAND
        from pytest_berth import wait_for
        from pytest_berth.services.mysql.contents import READING

        def connected(dsn):
            url = urlsplit(dsn)
            return pymysql.connect(
                host=url.hostname, port=url.port, user=url.username, password=url.password,
                database=url.path[1:], autocommit=True, client_flag=CLIENT.MULTI_STATEMENTS,
            )

        def waiting(connection):
            asked = "SELECT COUNT(*) FROM information_schema.processlist WHERE state = 'User lock'"
            return connection.exec_driver_sql(asked).scalar()

        @pytest.mark.parametrize("statement", [
            "/*!INSERT*/ INTO keyless SELECT GET_LOCK('gate', 60)",
            "DO GET_LOCK('gate', 60); INSERT INTO keyless VALUES (3)",
        ])
        def test_goes(mysql_engine, mysql_dsn, statement):
            gate.append(connected(mysql_dsn))
            gate[0].cursor().execute("SELECT GET_LOCK('gate', 0)")
            client = connected(mysql_dsn)
            client._execute_command(COMMAND.COM_QUERY, statement)
            with mysql_engine.connect() as connection:
                wait_for(lambda: waiting(connection), 60)
            client._force_close()

        @pytest.mark.parametrize("number", range(2))
        def test_next(mysql_engine, number):
            open_gate()
            with mysql_engine.connect() as connection:
                wait_for(lambda: not waiting(connection), 60)
            with mysql_engine.connect() as connection:
                check(connection)

        @pytest.mark.parametrize("text, reads", [
            (" (select 1)", 1),
            ("/* of: /x */ SELECT 1", 1),
            ("/**/ /** a * b **/SELECT 1", 1),
            ("-- of\\n--\\n# x\\nSHOW TABLES", 1),
            ("/*" + " long" * 20000 + "*/SELECT 1", 1),
            ("WITH a AS (SELECT 1) DELETE FROM b", 0),
            ("/* SELECT */ INSERT INTO a VALUES (1)", 0),
            ("/*!80000 DELETE FROM a */ SELECT 1", 0),
            ("/*M!100000 DELETE FROM a */ SELECT 1", 0),
            ("--\\nDELETE FROM a WHERE b IN (\\nSELECT 1)", 0),
            ("# SELECT\\nDELETE FROM a /* */SELECT", 0),
            ("--SELECT", 0),
            ("/* x", 0),
        ])
        def test_whether_a_statement_reads_is_told_by_its_text(mysql_engine, text, reads):
            with mysql_engine.connect() as connection:
                asked = f"SELECT %s REGEXP '{READING}'"
                assert connection.exec_driver_sql(asked, (text,)).scalar() == reads
        """
    )
    seeded.run("-p", "no:randomly").assert_outcomes(passed=17)


def test_tables_that_a_test_leaves_locked_are_the_next_tests_to_write_to(seeded: Project) -> None:
    seeded.write(
        conftest="""
            locking, idle = [], []
        """,
        test_it="""
            from urllib.parse import urlsplit
            import pymysql
            import pytest
            from checks import check
            from conftest import idle, locking

            def connected(dsn):
                url = urlsplit(dsn)
                return pymysql.connect(
                    host=url.hostname, port=url.port, user=url.username, password=url.password,
                    database=url.path[1:], autocommit=True,
                )

            @pytest.mark.parametrize("mode", ["READ", "WRITE"])
            def test_goes(mysql_dsn, mode):
                if not idle:
                    idle.append(connected(mysql_dsn))
                locking.append(connected(mysql_dsn))
                locking[-1].cursor().execute(f"LOCK TABLES parents {mode}, keyless {mode}")
                if mode == "WRITE":
                    locking[-1].cursor().execute("INSERT INTO keyless VALUES (7)")

            @pytest.mark.parametrize("number", range(2))
            def test_next(mysql_engine, number):
                with mysql_engine.connect() as connection:
                    connection.exec_driver_sql("SET lock_wait_timeout = 1")
                    check(connection)

            def test_a_connection_that_locks_nothing_is_left_alone(mysql_engine):
                idle[0].ping(reconnect=False)
        """,
    )
    seeded.run("-p", "no:randomly").assert_outcomes(passed=5)


def test_locks_cost_nobody_a_connection_who_holds_none(seeded: Project) -> None:
    seeded.write(
        test_it="""
            import threading
            from urllib.parse import urlsplit
            import pymysql
            import pytest
            from pytest_berth import wait_for
            from sqlalchemy import text

            kept = {}

            def connected(dsn):
                url = urlsplit(dsn)
                return pymysql.connect(
                    host=url.hostname, port=url.port, user=url.username, password=url.password,
                    database=url.path[1:], autocommit=True,
                )

            def test_in_a_transaction(mysql_session):
                mysql_session.execute(text("INSERT INTO keyless VALUES (5)"))

            @pytest.mark.parametrize("number", range(2))
            def test_on_pooled_connections(mysql_engine, mysql_dsn, number):
                kept["idle"] = connected(mysql_dsn)
                with mysql_engine.connect() as one, mysql_engine.connect() as other:
                    one.exec_driver_sql("LOCK TABLES parents WRITE")
                    other.exec_driver_sql("SELECT 1")

            @pytest.mark.parametrize("number", range(2))
            def test_in_a_transaction_again(mysql_session, number):
                mysql_session.execute(text("INSERT INTO parents (name) VALUES ('next')"))
                kept["idle"].ping(reconnect=False)

            def test_reads_for_long(mysql_engine, mysql_dsn):
                kept["reading"] = reading = connected(mysql_dsn)
                query = "SELECT SLEEP(2) FROM parents"
                kept["reader"] = threading.Thread(target=reading.cursor().execute, args=[query])
                kept["reader"].start()
                kept["idle"] = connected(mysql_dsn)
                with mysql_engine.connect() as connection:
                    asked = f"SHOW OPEN TABLES FROM `{mysql_engine.url.database}` WHERE In_use > 0"
                    wait_for(lambda: connection.exec_driver_sql(asked).all(), 20)

            def test_is_not_cut_off(mysql_session):
                mysql_session.execute(text("INSERT INTO parents (name) VALUES ('next')"))
                kept["idle"].ping(reconnect=False)
                kept["reader"].join()
                kept["reading"].ping(reconnect=False)
        """
    )
    seeded.run("-p", "no:randomly").assert_outcomes(passed=7)
