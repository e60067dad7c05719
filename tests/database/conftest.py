"""Servers of every PostgreSQL version on this machine, and empty databases on them."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from oneiro.database.binaries import OLDEST_MAJOR, find_binaries, inspect
from oneiro.database.embedded import Server, embedded


def _versions() -> dict[int, Path]:
    """Folders of binaries by major version: the one that `up` uses, and each installed server."""
    default = find_binaries()
    installed = [inspect(folder) for folder in Path("/usr/lib/postgresql").glob("*/bin")]
    others = {found.major: found.folder for found in installed if found and found.major >= OLDEST_MAJOR}
    return others | {default.major: default.folder}


VERSIONS = _versions()


@contextmanager
def _reachable_directory() -> Iterator[Path]:
    """A directory that the server's own account may enter, which pytest's are not."""
    home = Path(tempfile.mkdtemp(prefix="oneiro-versions-"))
    home.chmod(0o711)
    yield home
    shutil.rmtree(home)


@asynccontextmanager
async def _server(major: int) -> AsyncIterator[Server]:
    with _reachable_directory() as home:
        async with embedded(home / "data", binaries=VERSIONS[major], options={"fsync": "off"}) as server:
            yield server


@pytest.fixture(scope="session", params=sorted(VERSIONS), ids=lambda major: f"pg{major}")
async def cluster(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server of one version; its roles are the tests' to change."""
    async with _server(request.param) as server:
        yield server


@pytest.fixture(params=sorted(VERSIONS), ids=lambda major: f"pg{major}")
async def fresh_cluster(request: pytest.FixtureRequest) -> AsyncIterator[Server]:
    """A server of one version on which nobody has made a role yet."""
    async with _server(request.param) as server:
        yield server


@pytest.fixture
def new_database(cluster: Server) -> Iterator[Callable[[], str]]:
    """Make empty databases; gives the superuser's address of each."""
    made = []

    def make() -> str:
        name = f"test_{uuid4().hex}"
        with psycopg.connect(cluster.admin_url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return cluster.url(name)

    yield make
    with psycopg.connect(cluster.admin_url, autocommit=True) as connection:
        for name in made:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def empty(new_database: Callable[[], str]) -> str:
    """An empty database."""
    return new_database()
