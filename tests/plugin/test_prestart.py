"""Servers that selected tests need start while the tests before them run."""

from __future__ import annotations

import signal
import subprocess
import sys
from contextlib import closing
from textwrap import dedent
from typing import TYPE_CHECKING

import docker
import pytest

from marks import nightly, usual
from pytest_berth import wait_for
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from conftest import Project

# What the run has of servers when its tests are over, before it removes everything.
CONFTEST = """
    import threading
    import pytest
    from pathlib import Path
    from tempfile import gettempdir
    from pytest_berth import wait_for

    def of_servers(pattern):
        return sorted(path.name for path in Path(gettempdir()).glob(f"berth-*/{pattern}"))

    def of_threads():
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith("berth-start-")]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(session):
        if not hasattr(session.config, "workerinput"):
            Path("seen").write_text(" ".join([*of_servers("*.*.json"), *of_threads()]))
"""
WAITING = """
    from conftest import of_servers, wait_for

    def test_unit():
        wait_for(lambda: of_servers("{pattern}"), 60)
"""
MADE_AHEAD = """
    import os
    import psycopg
    import pytest
    from conftest import Path, gettempdir, of_threads, wait_for

    def made():
        files = Path(gettempdir()).glob("berth-*/*.template-0.prebuilt")
        return any(path.read_text() for path in files) and not of_threads()

    def test_unit():
        wait_for(made, 60)
"""
USING = "def test_pg(pg_session): pass"
LOADED = """
    import sys

    def loaded(*imported):
        found = [name.removeprefix("pytest_berth.") for name in sys.modules]
        return [name for name in found if name.startswith(imported)]
"""


@pytest.fixture
def temporary(
    project: Project, monkeypatch: pytest.MonkeyPatch, require_source: Callable[[str], None]
) -> Iterator[Path]:
    """The directory for temporary files of the project's runs, whose servers are local."""
    require_source("local")
    with open_home() as directory:
        monkeypatch.setenv("TMPDIR", str(directory))
        monkeypatch.setenv("BERTH_SOURCE", "local")
        project.models()
        project.conftest(CONFTEST)
        yield directory
        # Every test of this module: what a run has begun, it has ended or undone.
        # Where the server is a container, the run's reaper may be at it yet.
        wait_for(lambda: not left_in(directory), 60)


def left_in(directory: Path) -> list[Path]:
    """Return what runs have left in a directory; reservations of ports may be used again."""
    unused = [path for path in directory.glob("berth-kept-*") if not [*path.rglob("*.json")]]
    left = [path for path in directory.glob("berth-*") if "ports" not in path.name]
    return [path for path in left if path not in unused]


def seen(project: Project) -> str:
    """Return the names of what the last run had of servers at the end of its tests."""
    return (project.root / "seen").read_text()


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param((), id="alone", marks=pytest.mark.nightly),
        pytest.param(("-n", "2"), id="xdist"),
    ],
)
def test_a_server_starts_while_a_test_runs_that_does_not_need_it(
    project: Project, temporary: Path, arguments: tuple[str, ...]
) -> None:
    project.plugins = ("xdist",)
    project.write(test_a=WAITING.format(pattern="postgres.ready.json"), test_b=USING)
    result = project.run(*arguments)
    result.assert_outcomes(passed=2)
    before, _, _ = (result.stdout.str() + result.stderr.str()).partition("= berth =")
    assert before.count("ready in") == 1


# Each of pytester's runs has another directory for temporary files, and so is another command.
AGAIN = """
    from pytest_berth.run import expected_services

    expected_services.command_of = lambda config: "the same"
"""
# The module is imported while the server is there already, in each run but the first.
COLLECTED = """
    from conftest import Path, of_servers, wait_for

    if Path("again").exists():
        wait_for(lambda: of_servers("postgres.ready.json"), 60)
    Path("again").touch()
    {more}
"""
# Nothing has begun by the time that the module is imported.
NOT_EXPECTED = "from conftest import of_servers\nassert not of_servers('*.lock')\n" + USING


def test_what_the_same_command_needed_last_time_starts_while_tests_are_collected(
    project: Project, temporary: Path
) -> None:
    project.conftest(CONFTEST + AGAIN)
    project.write(test_it=COLLECTED.format(more=USING))
    for _ in range(2):
        result = project.run()
        result.assert_outcomes(passed=1)
        assert "given up" not in result.stdout.str() + result.stderr.str()
    unit = """
    def test_unit():
        wait_for(lambda: not of_servers("postgres.*.json"), 60)
    """
    project.write(test_it=COLLECTED.format(more=dedent(unit).replace("\n", "\n    ")))
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "no selected test needs it" in result.stdout.str() + result.stderr.str()
    assert "= berth =" not in result.stdout.str()
    assert seen(project) == ""
    project.write(test_it=NOT_EXPECTED)
    project.run().assert_outcomes(passed=1)


def test_what_began_before_the_collection_is_begun_anew_if_that_changes_the_environment(
    project: Project, temporary: Path
) -> None:
    changing = """
    import os

    before = of_servers("postgres.ready.json") and launched()
    os.environ["OF_A_MODULE"] = "1"

    def test_pg(pg_session):
        assert launched() != before
        assert f"OF_A_MODULE=1" in Path(f"/proc/{launched()}/environ").read_text()
    """
    launched = """
    import json
    from conftest import Path, gettempdir

    def launched():
        (path,) = Path(gettempdir()).glob("berth-*/postgres.launched.json")
        return json.loads(path.read_text())["handle"]["pid"]
    """
    project.conftest(CONFTEST + AGAIN)
    project.write(
        launches=launched,
        test_it=COLLECTED.format(more="from launches import launched\n" + changing),
    )
    project.run().assert_outcomes(passed=1)
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "changed the environment" in result.stdout.str() + result.stderr.str()
    project.write(test_it=NOT_EXPECTED)
    project.run().assert_outcomes(passed=1)


def test_what_began_before_the_collection_is_ended_if_that_fails_or_is_killed(
    project: Project, temporary: Path
) -> None:
    project.conftest(CONFTEST + AGAIN)
    project.write(test_it=COLLECTED.format(more=USING))
    project.run().assert_outcomes(passed=1)
    project.write(test_it=COLLECTED.format(more="import nothing_of_this_name"))
    result = project.run()
    result.assert_outcomes(errors=1)
    assert "= berth =" not in result.stdout.str()
    killed = "import os, signal\n    os.kill(os.getpid(), signal.SIGKILL)"
    project.write(test_it=COLLECTED.format(more=killed))
    assert project.run().ret == -signal.SIGKILL


def test_what_began_before_the_collection_holds_up_no_run_that_does_not_need_it(
    project: Project, temporary: Path
) -> None:
    slow_and_looping = """
    from pytest_berth.run import server_start

    wait_until_ready = server_start.wait_until_ready

    def wait(*args):
        *_, go_on = args
        if Path("slow").exists():
            wait_for(go_on, 60)  # it raises when the start is given up
        return wait_until_ready(*args)

    server_start.wait_until_ready = wait

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(session):
        if Path("loop").exists():
            for item in session.items:
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            return True
    """
    project.conftest(CONFTEST + AGAIN + slow_and_looping)
    project.write(test_it=USING)
    project.run().assert_outcomes(passed=1)
    (project.root / "loop").touch()
    result = project.run()
    result.assert_outcomes(passed=1)
    assert "given up" not in result.stdout.str() + result.stderr.str()
    (project.root / "loop").unlink()
    (project.root / "slow").touch()
    for module in ("def test_unit(): pass", "import nothing_of_this_name"):
        project.write(test_it=module)
        result = project.run()
        assert result.duration < 25, "it has waited until the start would have timed out"
        project.write(test_it=USING)
        (project.root / "slow").unlink()
        project.run().assert_outcomes(passed=1)
        (project.root / "slow").touch()


def test_what_began_before_the_collection_is_not_kept_where_it_begins_anew(
    project: Project, temporary: Path
) -> None:
    project.conftest(CONFTEST + AGAIN)
    project.ini("berth_keep = 60s")
    changing = """
    import json
    import psutil
    from conftest import gettempdir

    def has_ended(pid):
        # Before its last thread has, its status cannot be asked for: it stays a zombie.
        try:
            return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True

    def launched():
        (path,) = Path(gettempdir()).glob("berth-*/redis.launched.json")
        return json.loads(path.read_text())["handle"]["pid"]

    if Path("early").exists():
        wait_for(lambda: of_servers("redis.ready.json"), 60)
        Path("early").write_text(str(launched()))
        import os
        os.environ["OF_A_MODULE"] = "1"

    def test_redis(redis_client):
        if Path("early").exists():
            early = int(Path("early").read_text())
            assert launched() != early
            wait_for(lambda: has_ended(early), 30)
    """
    project.write(test_it="from conftest import Path, of_servers, wait_for\n" + dedent(changing))
    project.run().assert_outcomes(passed=1)
    project.run("--berth-stop")
    (project.root / "early").touch()
    project.run().assert_outcomes(passed=1)
    project.run("--berth-stop")


def test_all_services_start_ahead_each_in_its_time(project: Project, temporary: Path) -> None:
    waiting = (
        WAITING.format(pattern="postgres.ready.json")
        + """
        wait_for(lambda: of_servers("redis.ready.json"), 60)
"""
    )
    project.write(test_a=waiting, test_b=USING, test_c="def test_it(redis_client): pass")
    project.run().assert_outcomes(passed=3)


def test_the_template_is_made_ahead_and_cloned_for_the_first_test_that_asks(
    project: Project, temporary: Path
) -> None:
    project.conftest(
        CONFTEST
        + """
    from pytest_berth.services.postgres.databases import cloning
    create = cloning.create

    def created(connection, name, template):
        with Path("cloned").open("a") as stream:
            stream.write(threading.current_thread().name + " ")
        create(connection, name, template)

    cloning.create = created
"""
    )
    project.models("berth_export = SHOP_DSN={pg_dsn}")
    project.write(
        test_a=MADE_AHEAD
        + """
        with pytest.raises(psycopg.OperationalError, match="does not exist"):
            psycopg.connect(os.environ["SHOP_DSN"])
        """,
        test_b="""
            from models import User

            def test_it(pg_session): assert pg_session.query(User).all() == []
        """,
    )
    project.run().assert_outcomes(passed=2)
    assert (project.root / "cloned").read_text().split() == [
        "berth-start-postgres",
        "MainThread",
    ]


def test_a_run_imports_only_what_its_source_and_its_tests_need(
    project: Project, temporary: Path
) -> None:
    project.write(
        imported=LOADED,
        test_a="""
            from imported import loaded

            def test_pg(pg_session):
                assert loaded("sources.local", "schema.parse_lines")
                assert not loaded("sources.container")  # nor `container_engine`
                assert not loaded("sources.external")
                assert not loaded("services.redis.namespace", "services.kafka.namespace")
                kinds = ("alembic", "python_attribute", "command", "python_objects", "sql_files")
                assert not loaded(*(f"schema.{kind}" for kind in kinds))
                assert not loaded("services.postgres.restore.")
                assert not loaded("services.postgres.databases.database_pool")
        """,
    )
    project.ini()
    project.run(forked=False).assert_outcomes(passed=1)


@pytest.mark.parametrize("needed_by", ["pg_engine", *nightly("pg_database")])
def test_what_puts_data_back_is_imported_before_the_first_test_if_any_needs_it(
    project: Project, temporary: Path, needed_by: str
) -> None:
    unit = """
        from imported import loaded

        def test_unit():
            assert loaded("services.postgres.restore.restore")
            assert loaded("services.postgres.databases.database_pool")
    """
    project.ini()
    using = f"""
        from sqlalchemy import text

        STORED = text("SELECT to_regclass('information_schema.berth_kept_mark')::text")

        def test_pg({needed_by}):
            with {needed_by}.engine.connect() as connection:
                assert connection.scalar(STORED)
    """
    project.write(imported=LOADED, test_a=unit, test_b=using)
    project.run(forked=False).assert_outcomes(passed=2)


def test_nothing_is_stored_for_later_runs_where_there_is_none(
    project: Project, temporary: Path
) -> None:
    project.models()
    project.write(
        imported=LOADED,
        test_it="""
            from imported import loaded
            from sqlalchemy import text

            STORED = text("SELECT to_regclass('information_schema.berth_kept_mark')::text")

            def test_pg(pg_session):
                assert pg_session.scalar(STORED) is None
                assert not loaded("services.postgres.restore.")
        """,
    )
    project.run(forked=False).assert_outcomes(passed=1)


def test_a_function_of_the_schema_waits_for_the_test_that_needs_it(
    project: Project, temporary: Path
) -> None:
    project.ini("berth_pg_schema = models:create")
    project.write(
        models="""
            import os
            from pathlib import Path

            def create(connection):
                with Path("called").open("a") as stream:
                    stream.write(os.environ["PYTEST_CURRENT_TEST"].split("::")[0])
        """,
        test_a="""
            from conftest import of_servers, of_threads, wait_for

            def test_unit():
                wait_for(lambda: of_servers("postgres.ready.json") and not of_threads(), 60)
        """,
        test_b=USING,
    )
    project.run().assert_outcomes(passed=2)
    assert (project.root / "called").read_text() == "test_b.py"


def test_tables_that_an_import_adds_later_are_in_the_template(
    project: Project, temporary: Path
) -> None:
    project.write(
        more="""
            from sqlalchemy.orm import Mapped, mapped_column
            from models import Base

            class Later(Base):
                __tablename__ = "later"
                id: Mapped[int] = mapped_column(primary_key=True)
        """,
        test_a=MADE_AHEAD + "\n        import more",
        test_b="""
            def test_it(pg_session):
                from more import Later
                assert pg_session.query(Later).all() == []
        """,
    )
    project.run().assert_outcomes(passed=2)


def test_a_schema_that_fails_is_told_by_the_tests_that_need_it(
    project: Project, temporary: Path
) -> None:
    project.ini("berth_pg_schema = bad.sql", "filterwarnings = error")
    (project.root / "bad.sql").write_text("CREATE TABEL two (id int);\n")
    project.write(
        test_a=WAITING.format(pattern="*.template-0.prebuilt"),
        test_b=USING + "\ndef test_more(pg_engine): pass",
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=2)
    assert result.stdout.str().count("\nbad.sql:1 failed") == 2


def test_threads_change_as_seldom_as_ever_when_tests_run(project: Project, temporary: Path) -> None:
    project.ini()
    project.write(
        conftest="""
            import sys
            from pytest_berth.run import prestart

            USUAL = sys.getswitchinterval()
            LOAD, SEEN = prestart.Prestart.load, []

            def load(*given):
                SEEN.append(sys.getswitchinterval())
                LOAD(*given)

            prestart.Prestart.load = load
        """,
        test_it="""
            import sys
            import conftest

            def test_it(redis_url):
                (while_imported,) = conftest.SEEN
                assert while_imported < conftest.USUAL == sys.getswitchinterval()
        """,
    )
    project.run().assert_outcomes(passed=1)


@pytest.mark.parametrize("arguments", ["--collect-only", "--setup-plan", "--fixtures", "-k=unit"])
def test_nothing_starts_where_no_test_runs_that_needs_it(
    project: Project, temporary: Path, arguments: str
) -> None:
    project.write(test_a="def test_unit(): pass", test_b=USING)
    project.run(arguments)
    assert seen(project) == ""


def test_nothing_starts_for_skipped_tests(project: Project, temporary: Path) -> None:
    skipped = """
        import pytest

        @pytest.mark.skip
        def test_skipped(pg_session): pass

        @pytest.mark.skipif(True, reason="no")
        def test_by_a_value(pg_session): pass

        @pytest.mark.skipif("sys.version_info > (3,)", reason="no")
        def test_by_a_text(pg_session): pass
    """
    project.write(test_a="def test_unit(): pass", test_b=skipped)
    project.run().assert_outcomes(passed=1, skipped=3)
    assert seen(project) == ""


def test_nothing_starts_after_an_error_of_collection(project: Project, temporary: Path) -> None:
    project.write(test_a="import nothing_of_this_name", test_b=USING)
    project.run().assert_outcomes(errors=1)
    assert seen(project) == ""


def test_only_the_services_of_selected_tests_start(project: Project, temporary: Path) -> None:
    project.write(test_b=USING, test_c="def test_it(redis_client): pass")
    project.run("-k", "test_pg").assert_outcomes(passed=1)
    assert "redis" not in seen(project)


def test_with_fail_fast_nothing_starts_before_the_unit_tests_have_passed(
    project: Project, temporary: Path
) -> None:
    unit = "from conftest import of_servers\ndef test_unit(): assert not of_servers('*.json')"
    # The run's own file is there, and nothing else.
    unit = unit.replace("not of_servers('*.json')", "not of_servers('*.planned.json')")
    project.write(test_a=unit, test_b=USING, test_c="def test_it(redis_client): pass")
    project.run("--berth-fail-fast").assert_outcomes(passed=3)
    assert "redis.ready.json" in seen(project)


def test_it_can_be_switched_off(project: Project, temporary: Path) -> None:
    project.models("berth_start_ahead = false")
    unit = "from conftest import of_servers\ndef test_unit(): assert not of_servers('*.lock')"
    project.write(test_a=unit, test_b=USING)
    project.run().assert_outcomes(passed=2)


def test_what_is_asked_for_at_run_time_starts_then(project: Project, temporary: Path) -> None:
    unit = "from conftest import of_servers\ndef test_unit(): assert not of_servers('*.lock')"
    late = "def test_it(request): request.getfixturevalue('pg_session')"
    project.write(test_a=unit, test_b=late)
    project.run("-pno:randomly").assert_outcomes(passed=2)


def test_a_start_that_fails_is_told_by_each_test_that_needs_it_and_nowhere_else(
    project: Project, temporary: Path
) -> None:
    project.ini("berth_pg_settings = work_memory = 64MB", "filterwarnings = error")
    project.write(
        test_a=WAITING.format(pattern="postgres.failed-prestart"),
        test_b=USING + "\ndef test_more(pg_engine): pass",
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=2)
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    result.stdout.fnmatch_lines(["*postgres ended while it started*", "*work_memory*"])


def test_what_a_thread_prepares_waits_for_the_imports_of_the_main_thread(served: Project) -> None:
    served.models()
    served.conftest(
        """
        from contextlib import suppress
        from pytest_berth import wait_for
        from pytest_berth.services.postgres.backend import Postgres

        done, load, prepare = [], Postgres.load_drivers, Postgres.prebuild

        def loading(self, *args, **given):
            with suppress(TimeoutError):
                wait_for(lambda: done, 1)
            load(self, *args, **given)
            done.append("imports")

        def preparing(self, *args):
            done.append("template")
            prepare(self, *args)

        Postgres.load_drivers, Postgres.prebuild = loading, preparing
        """
    )
    served.write(
        test_it="""
        import conftest

        def test_pg(pg_session):
            assert conftest.done == ["imports", "template"]
        """
    )
    served.run().assert_outcomes(passed=1)


def test_the_main_thread_imports_when_servers_are_launched(
    project: Project, temporary: Path
) -> None:
    project.ini()
    project.conftest(
        """
        from pytest_berth.run import prestart
        from pytest_berth.run.server_manager import Manager
        from pytest_berth.services.postgres.backend import Postgres

        done, load, call = [], Postgres.load_drivers, Manager.call_at_launch
        # However busy the machine is.
        prestart._LAUNCH_WITHIN = 60

        def loading(self):
            done.append("imports")
            load(self)

        def calling(self, service, work):
            call(self, service, lambda: (done.append("launch"), work()))

        Postgres.load_drivers, Manager.call_at_launch = loading, calling
        """
    )
    project.write(
        test_it="""
        import conftest

        def test_pg(pg_session):
            assert conftest.done == ["launch", "imports"]
        """
    )
    project.run().assert_outcomes(passed=1)


def test_nobody_waits_for_the_launch_of_a_server_whose_driver_is_missing(
    project: Project, temporary: Path
) -> None:
    project.ini()
    project.conftest(
        """
        import sys
        from pytest_berth.run import prestart

        sys.modules["redis"] = None
        # However busy the machine is; nobody waits that long.
        prestart._LAUNCH_WITHIN = 60
        let_launch, ended = prestart.Prestart.let_launch, []

        def waiting(self, services):
            let_launch(self, services)
            ended.extend(self._launching[each.name].is_set() for each in services)

        prestart.Prestart.let_launch = waiting
        """
    )
    project.write(
        test_it="""
        import conftest

        def test_that_needs_it(redis_client): pass

        def test_wait():
            assert conftest.ended == [True]
        """
    )
    result = project.run()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*needs the package 'redis', which is not installed.*"])


BESIDE = """
    import threading
    import pytest
    from pytest_berth.run.server_manager import Manager
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.postgres.service import POSTGRES

    prestart, asked = Manager.prestart, threading.Event()

    def start_when_asked(manager, service):
        asked.wait(60)
        return prestart(manager, service)

    Manager.prestart = start_when_asked

    @pytest.fixture
    def start(pytestconfig):
        \"""Start the server as the thread does.\"""
        return lambda: prestart(pytestconfig.stash[PLUGIN_STATE].manager, POSTGRES)

    @pytest.fixture
    def forgotten():
        yield
        for failure in Path(gettempdir()).glob("berth-*/*.failed-prestart"):
            failure.unlink()
"""
CHANGED = """
    import logging, os, socket, subprocess
    from pathlib import Path
    import pytest
    from conftest import asked, gettempdir, of_servers, of_threads, wait_for

    CHANGES = {
        "socket": lambda patch: patch.setattr(socket, "socket", nothing),
        "programs": lambda patch: patch.setattr(subprocess, "Popen", nothing),
        "files": lambda patch: patch.setattr(Path, "touch", nothing),
        "engine": lambda patch: patch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1"),
    }
    IN_THE_WAY = {"local": ["socket", "programs", "files"], "container": ["engine", "files"]}
    SOURCE = os.environ["BERTH_SOURCE"]

    def nothing(*args, **kwargs):
        raise OSError("a test has replaced it")

    def made():
        files = Path(gettempdir()).glob("berth-*/*.template-0.prebuilt")
        return any(path.read_text() for path in files) and not of_threads()

    @pytest.mark.parametrize("change", IN_THE_WAY[SOURCE])
    def test_in_the_way(change, start, forgotten):
        with pytest.MonkeyPatch.context() as patch:
            CHANGES[change](patch)
            with pytest.raises(Exception):
                start()
        assert not of_servers("postgres.ready.json")

    def test_not_heeded(monkeypatch, caplog, capfd):
        monkeypatch.setenv("STAGE", "a test's own")
        monkeypatch.setenv("PATH", "")
        monkeypatch.chdir("/")
        caplog.set_level(logging.DEBUG)
        asked.set()
        wait_for(made, 60)
        assert not caplog.records
        assert capfd.readouterr().out == ""
"""


@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_what_a_unit_test_changes_for_the_whole_process_harms_no_start(
    project: Project,
    temporary: Path,
    require_source: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    source: str,
) -> None:
    require_source(source)
    monkeypatch.setenv("BERTH_SOURCE", source)
    (project.root / "schema.py").write_text(
        "import os\nassert [os.environ['STAGE'], os.getcwd()] == ['before', os.environ['HERE']]\n"
    )
    project.ini(f"berth_pg_schema = command: {sys.executable} schema.py")
    project.conftest(dedent(CONFTEST) + dedent(BESIDE))
    project.write(test_a=CHANGED, test_b=USING)
    result = project.run("-v", "-p", "no:randomly", STAGE="before", HERE=str(project.root))
    result.assert_outcomes(passed=5 if source == "local" else 4)


def test_a_fake_file_system_waits_for_what_is_being_started(
    project: Project, temporary: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.plugins = ("fakefs",)
    project.conftest(
        """
        import threading
        import pytest
        from pytest_berth.sources.local import Local

        start, asked = Local.start, threading.Event()

        def starting(*args):
            asked.wait(60)
            return start(*args)

        Local.start = starting

        @pytest.fixture
        def asking():
            asked.set()
        """
    )
    project.write(
        test_a="""
            import pytest
            from pyfakefs.fake_filesystem_unittest import Patcher, TestCase

            @pytest.mark.parametrize("n", range(20))
            def test_fake(asking, fs, n):
                fs.create_file("/x", contents="1")
                assert open("/x").read() == "1"

            class Test(TestCase):
                def test_fake(self):
                    self.setUpPyfakefs()
                    assert not self.fs.exists("/x")
        """,
        test_b="""
            from models import User

            def test_of_both(fs, pg_session, pg_engine):
                fs.create_file("/x")
                assert pg_session.query(User).all() == []

            def test_it(pg_session):
                assert pg_session.query(User).all() == []
        """,
    )
    project.run("--berth-source=local").assert_outcomes(passed=23)


def test_a_source_that_only_seems_to_fail_is_taken_all_the_same(
    project: Project, temporary: Path, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    project.conftest(
        CONFTEST
        + """
    from pytest_berth.errors import NoSourceError
    from pytest_berth.sources.container import ContainerSource

    def pytest_runtest_setup(item):
        if item.name == "test_unit":
            wait_for(lambda: of_servers("postgres.ready.json"), 60)
            ContainerSource.obstacle = original

    original = ContainerSource.obstacle
    ContainerSource.obstacle = lambda *args: NoSourceError("a test is in the way.")
"""
    )
    project.write(
        test_a="def test_unit(): pass",
        test_b="""
            from models import User

            def test_it(pg_session, pg_server):
                assert pg_server.source == "container"
                assert pg_session.query(User).all() == []
        """,
    )
    project.run("--berth-source=auto").assert_outcomes(passed=2)


def test_time_that_a_test_makes_pass_ends_no_start(project: Project, temporary: Path) -> None:
    project.write(
        test_a="""
            import itertools, time
            from conftest import of_servers, wait_for

            def test_unit(monkeypatch):
                monkeypatch.setattr(time, "monotonic", itertools.count(step=1000).__next__)
                wait_for(lambda: of_servers("postgres.ready.json"), 60)
        """,
        test_b=USING,
    )
    project.run().assert_outcomes(passed=2)


@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_a_run_that_ends_meanwhile_undoes_the_start(
    project: Project, temporary: Path, require_source: Callable[[str], None], source: str
) -> None:
    require_source(source)
    # It ends as soon as the start has begun.
    failing = WAITING.format(pattern="postgres.planned.json") + "        assert False"
    project.write(test_a=failing, test_b=USING)
    result = project.run("-x", f"--berth-source={source}")
    result.assert_outcomes(failed=1)
    assert "Traceback" not in result.stderr.str()


@pytest.mark.parametrize(
    ("moment", "workers"),
    [("planned", 2), ("launched", 0), *nightly(("planned", 0), ("launched", 2))],
)
def test_ctrl_c_undoes_the_start(
    project: Project, temporary: Path, moment: str, workers: int
) -> None:
    project.plugins = ("xdist",)
    project.write(
        test_a="import threading\ndef test_unit(): threading.Event().wait()", test_b=USING
    )
    output = project.root / "output"
    with output.open("w") as stream:
        process = subprocess.Popen(
            [sys.executable, "-m", "pytest", "-n", str(workers), *project.arguments()],
            cwd=project.root,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for(lambda: any(temporary.glob(f"berth-*/*.{moment}.json")), 60)
        process.send_signal(signal.SIGINT)
        # Python ends itself by the signal where that came while it ran source text, as dataclasses
        # are made of, and pytest fails where it came before a function's first line.
        assert process.wait(60) != pytest.ExitCode.OK, output.read_text()
    finally:
        process.kill()
    # Then it is the reaper that undoes the start, a moment later.
    wait_for(lambda: left_in(temporary) == [], 60)


def test_a_worker_that_has_nothing_to_do_ends_the_start_that_another_one_waits_for(
    project: Project, temporary: Path
) -> None:
    project.plugins = ("xdist",)
    project.write(test_a="def test_unit(): pass", test_b=USING)
    result = project.run("-n", "2", "--dist", "loadfile")
    result.assert_outcomes(passed=2)
    assert (result.stdout.str() + result.stderr.str()).count("ready in") == 2


def test_a_server_of_one_tests_own_is_not_started_ahead(project: Project, temporary: Path) -> None:
    project.ini("berth_redis_scope = test")
    unit = "from conftest import of_servers\ndef test_unit(): assert not of_servers('*.lock')"
    project.write(test_a=unit, test_b="def test_it(redis_client): pass")
    project.run().assert_outcomes(passed=2)


def test_each_worker_starts_its_own_server_ahead(project: Project, temporary: Path) -> None:
    project.plugins = ("xdist",)
    project.ini("berth_redis_scope = worker")
    project.write(
        test_a="""
            import pytest
            from conftest import of_servers, wait_for

            @pytest.mark.parametrize("n", range(2))
            def test_unit(n):
                wait_for(lambda: len(of_servers("redis-gw*.ready.json")) == 2, 60)
        """,
        test_b="def test_it(redis_client): pass",
    )
    project.run("-n", "2").assert_outcomes(passed=3)


DYING = """
    import os
    from pathlib import Path
    from pytest_berth.{module} import {name}

    original = {name}.{function}

    def {function}(*args, **kwargs):
        result = original(*args, **kwargs)
        if "{word}" in str(args) and not Path("died").exists():
            Path("died").touch()
            os._exit(1)
        return result

    {name}.{function} = {function}
"""
MOMENTS = {
    "launched, and nobody told": ("sources.{source}", "{kind}", "start", ""),
    "launched": ("run.registry", "Registry", "_write", "launched"),
    "template": ("services.postgres.databases", "cloning", "create", "template"),
}


@pytest.mark.parametrize("moment", usual(MOMENTS, "launched, and nobody told", "template"))
@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_a_worker_that_dies_while_it_starts_a_server_leaves_the_next_one_able_to(
    project: Project,
    temporary: Path,
    require_source: Callable[[str], None],
    source: str,
    moment: str,
) -> None:
    require_source(source)
    project.plugins = ("xdist",)
    module, name, function, word = MOMENTS[moment]
    kind = {"container": "ContainerSource", "local": "Local"}[source]
    project.conftest(
        DYING.format(
            module=module.format(source=source),
            name=name.format(kind=kind),
            function=function,
            word=word,
        )
    )
    project.write(
        test_b="""
            from pathlib import Path
            import pytest
            from sqlalchemy import text

            @pytest.mark.parametrize("n", range(6))
            def test_pg(pg_session, n):
                Path("database").write_text(pg_session.scalar(text("SELECT current_database()")))
        """
    )
    result = project.run("-n", "2", f"--berth-source={source}")
    assert (project.root / "died").exists()
    assert result.parseoutcomes()["passed"] >= 5
    if source == "container":
        run_id = (project.root / "database").read_text().split("_")[1]
        with closing(docker.from_env()) as client:
            named = {"name": f"berth-{run_id}"}
            # The run's reaper may be at it yet.
            wait_for(lambda: not client.containers.list(all=True, filters=named, sparse=True), 60)
