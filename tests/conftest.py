"""What every test may ask for: a PostgreSQL of its own, and fresh databases with the schema in place."""

import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from oneiro.database.embedded import Server, embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.interpreters.seed import load_seeds

TEMPLATE = "template_oneiro"

# A test's database may be lost with the machine; without these its making costs a disk flush.
FORGETFUL = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_wal_size": "256MB"}

# Making and dropping a database of 400 files costs a disk's file system 200 to 400 ms of the processor, memory 20 ms.
MEMORY = Path("/dev/shm")  # noqa: S108 - the directories made there are ours alone.
ROOM = 2 * 2**30

# What takes minutes begins first, so that at the end no process of pytest-xdist waits for another one's last file.
LONGEST = ("relay/test_relay_faults.py", "chaos/", "browser/", "clients/")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        place = item.path.relative_to(here).as_posix()
        return next((rank for rank, long in enumerate(LONGEST) if place.startswith(long)), len(LONGEST))

    items.sort(key=rank)


def _in_memory() -> Path | None:
    """A place in memory with enough room; what a killed run left there is removed first."""
    if not os.access(MEMORY, os.W_OK):
        return None
    for left in MEMORY.glob("oneiro-tests-*"):
        if not Path("/proc", left.name.split("-")[2]).exists():
            shutil.rmtree(left, ignore_errors=True)
    found = os.statvfs(MEMORY)
    return MEMORY if found.f_bavail * found.f_frsize >= ROOM and not found.f_flag & os.ST_NOEXEC else None


def _execute(admin_url: str, statement: str, database: str, template: str = "template1") -> None:
    names = {"database": sql.Identifier(database), "template": sql.Identifier(template)}
    with psycopg.connect(admin_url, autocommit=True) as conn:
        conn.execute(sql.SQL(statement).format(**names))


@pytest.fixture(scope="session")
def reachable_dir(pytestconfig: pytest.Config) -> Iterator[Path]:
    """A directory that a server may enter which root runs as another account: pytest's own are closed to it."""
    # Long runs write more than memory should hold.
    place = None if pytestconfig.getoption("markexpr") == "soak" else _in_memory()
    made = Path(tempfile.mkdtemp(prefix=f"oneiro-tests-{os.getpid()}-", dir=place))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def data_dir(reachable_dir: Path) -> Iterator[Path]:
    """A place, not made yet, for an embedded server of the test's own."""
    place = reachable_dir / uuid4().hex[:8]
    yield place
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture(scope="session")
async def postgres(reachable_dir: Path) -> AsyncIterator[Server]:
    """One embedded server for the session (for each worker of pytest-xdist one)."""
    async with embedded(reachable_dir / "postgres", options=FORGETFUL) as server:
        yield server


@pytest.fixture(scope="session")
def bare(postgres: Server) -> str:
    """Name of a database on which every migration ran once; nobody connects to it afterwards."""
    _execute(postgres.admin_url, "CREATE DATABASE {database}", TEMPLATE)
    migrate(postgres.url(TEMPLATE))
    return TEMPLATE


@pytest.fixture(scope="session")
async def seeded(postgres: Server, bare: str) -> str:
    """Name of a database that has Carl and Lakshmi as well."""
    name = f"{bare}_seeded"
    _execute(postgres.admin_url, "CREATE DATABASE {database} TEMPLATE {template}", name, bare)
    database = Database(postgres.url(name, user="oneiro_service"))
    await database.open()
    async with database.as_service() as conn:
        await load_seeds(conn)
    await database.close()
    return name


@pytest.fixture(scope="session")
def template(bare: str) -> str:
    """What each test gets a copy of; a folder whose tests want the interpreters takes `seeded`."""
    return bare


@pytest.fixture
def db_name(postgres: Server, template: str) -> Iterator[str]:
    """Name of a fresh database with the schema, for this test alone."""
    name = f"test_{uuid4().hex}"
    _execute(postgres.admin_url, "CREATE DATABASE {database} TEMPLATE {template} STRATEGY FILE_COPY", name, template)
    with psycopg.connect(postgres.url(name), autocommit=True) as conn:
        # A template may have agents; in a copy that is told so they may be deleted.
        conn.execute("DELETE FROM oneiro.platform_home")
    yield name
    _execute(postgres.admin_url, "DROP DATABASE {database} WITH (FORCE)", name)


@pytest.fixture
def db_url(postgres: Server, db_name: str) -> str:
    """Address of the test's database as its superuser."""
    return postgres.url(db_name)


@pytest.fixture
def service_url(postgres: Server, db_name: str) -> str:
    """Address of the test's database as the service's login role, which has no rights of its own."""
    return postgres.url(db_name, user="oneiro_service")
