"""Bring a database to the schema of this release: plain SQL files, forward only, each in a transaction of its own.

The files alone also serve the Supabase CLI, so they hold no word of this runner; `bootstrap.sql` supplies what
Supabase has and a plain server lacks. `oneiro.schema_migrations` keeps each applied file's checksum. A newer
migration that this release does not know is accepted, so that old and new replicas can run side by side during a
deployment; an unknown one between known ones means another branch of the code and is refused.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any, LiteralString

import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from oneiro.database.pool import Database
from oneiro.errors import SetupError

OLDEST_SERVER = 150000
LOCK = 0x6F6E6569726F  # "oneiro" in ASCII: the key of the advisory lock.
ATTEMPTS = 10

Connection = psycopg.Connection[tuple[Any, ...]]

RECORD: LiteralString = "INSERT INTO oneiro.schema_migrations (version, name, checksum) VALUES (%s, %s, %s)"


@dataclass(frozen=True)
class Migration:
    """One file of migrations/, named `<version>_<name>.sql`; `version` is its timestamp."""

    version: str
    name: str
    sql: str

    @property
    def file(self) -> str:
        """The file's name without its ending."""
        return f"{self.version}_{self.name}"

    @property
    def checksum(self) -> str:
        """The sha256 of the file with LF line ends, in hex."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def available(folder: Traversable | None = None) -> list[Migration]:
    """The migrations of this release in order; `folder` is the package's own unless given."""
    folder = folder or resources.files("oneiro.database") / "migrations"
    found = []
    for entry in folder.iterdir():
        if entry.name.endswith(".sql"):
            version, _, name = entry.name.removesuffix(".sql").partition("_")
            found.append(Migration(version, name, _text(entry)))
    return sorted(found, key=lambda migration: migration.version)


def migrate(admin_url: str, *, folder: Traversable | None = None) -> list[str]:
    """Apply what is missing and return the names applied, none if the database is up to date.

    `admin_url` must own the tables and may create roles. Safe to call from many processes at once. Raises
    SetupError, one line, when the server cannot be reached or is too old, when an applied file was changed, when
    a host application's tables do not fit, or when a statement fails.
    """
    known = available(folder)
    with _connected(admin_url) as connection:
        _patiently(partial(_run_bootstrap, connection))
        return [migration.file for migration in known if _patiently(partial(_run, connection, migration, known))]


def pending(admin_url: str, *, folder: Traversable | None = None) -> list[str]:
    """The names of this release's migrations that the database lacks; changes nothing.

    Raises SetupError as `migrate` does.
    """
    known = available(folder)
    with _connected(admin_url) as connection, connection.transaction():
        done = _by_supabase(connection, known)
        return [migration.file for migration in _missing(connection, known) if migration not in done]


async def lacking(database: Database) -> list[str]:
    """The names of this release's migrations that the service's database lacks, seen without an owner's rights."""
    try:
        async with database.as_service() as conn:
            cursor = await conn.execute("SELECT version FROM oneiro.schema_migrations")
            applied = {row[0] async for row in cursor}
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.InsufficientPrivilege):
        applied = set()
    return [migration.file for migration in available() if migration.version not in applied]


def script(*, folder: Traversable | None = None) -> str:
    """One SQL script for a database administrator: bootstrap, every migration, and the record of each."""
    parts = [f"-- bootstrap\nBEGIN;\n{bootstrap()}COMMIT;\n"]
    for migration in available(folder):
        record = RECORD.replace("%s", "'%s'") % (migration.version, migration.name, migration.checksum)
        parts.append(
            f"-- {migration.file}\nBEGIN;\nSET LOCAL search_path = public;\n{migration.sql}\n{record};\nCOMMIT;\n"
        )
    return "\n".join(parts)


def bootstrap() -> str:
    """What Supabase has and a plain server lacks; each part is made only where it is missing."""
    return _text(resources.files("oneiro.database") / "bootstrap.sql")


def _text(file: Traversable) -> str:
    return file.read_text(encoding="utf-8").replace("\r\n", "\n")


@contextmanager
def _connected(admin_url: str) -> Iterator[Connection]:
    try:
        conninfo_to_dict(admin_url)
    except psycopg.Error:
        # The driver's message quotes the URL with its password.
        raise SetupError("The database URL cannot be read: expected postgresql://user@host/name") from None
    try:
        connection = psycopg.connect(admin_url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise SetupError(f"The database cannot be reached: {_line(error)}") from error
    with connection:
        if connection.info.server_version < OLDEST_SERVER:
            found = connection.info.server_version // 10000
            raise SetupError(f"PostgreSQL {OLDEST_SERVER // 10000} or newer is needed; the database runs {found}")
        try:
            yield connection
        except psycopg.Error as error:
            raise SetupError(f"The database failed: {_line(error)}") from error


def _line(error: psycopg.Error) -> str:
    return " ".join((error.diag.message_primary or str(error)).split())


def _patiently(step: Callable[[], bool]) -> bool:
    """Take a step again when it collided; `_locked` lets no other error of the database through."""
    for attempt in range(1, ATTEMPTS):
        try:
            return step()
        except psycopg.Error:
            time.sleep(0.02 * attempt)
    return step()


def _collided(error: psycopg.Error) -> bool:
    """Whether two databases changed one role at once: roles belong to the cluster, our lock to the database."""
    if isinstance(error, errors.UniqueViolation):
        return error.diag.table_name in {"pg_authid", "pg_auth_members"}
    # "tuple concurrently updated" has no code of its own.
    return isinstance(error, errors.InternalError_ | errors.DuplicateObject)


@contextmanager
def _locked(connection: Connection, name: str) -> Iterator[None]:
    """One transaction that holds the runner's lock; it works through a transaction pooler too."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL search_path = public; SET LOCAL statement_timeout = 0")
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (LOCK,))
            # A host application's open transaction may hold one of the tables: say so rather than stop its traffic.
            connection.execute("SET LOCAL lock_timeout = '60s'")
            yield
    except psycopg.Error as error:
        if _collided(error):
            raise
        raise SetupError(f"{name} was not applied: {_line(error)}") from error


def _run_bootstrap(connection: Connection) -> bool:
    with _locked(connection, "bootstrap"):
        connection.execute(bootstrap().encode())
    return True


def _run(connection: Connection, migration: Migration, known: list[Migration]) -> bool:
    """Apply one file; False when it has run already, perhaps by someone who held the lock before us."""
    with _locked(connection, migration.file):
        if migration not in _missing(connection, known):
            return False
        if migration not in _by_supabase(connection, known):
            connection.execute(migration.sql.encode())
        connection.execute(RECORD, (migration.version, migration.name, migration.checksum))
    return True


def _missing(connection: Connection, known: list[Migration]) -> list[Migration]:
    """What the database has not recorded; raises SetupError when the record contradicts this release."""
    if connection.execute("SELECT to_regclass('oneiro.schema_migrations')").fetchone() == (None,):
        return known
    rows = connection.execute("SELECT version, name, checksum FROM oneiro.schema_migrations ORDER BY version")
    recorded = {version: (name, checksum) for version, name, checksum in rows}
    ours = {migration.version: migration for migration in known}
    for version, (name, checksum) in recorded.items():
        if version not in ours and version < max(ours):
            raise SetupError(f"The database has the migration {version}_{name}, which this release does not know")
        if version in ours and checksum != ours[version].checksum:
            raise SetupError(f"{ours[version].file} was changed after it was applied; write a new migration instead")
    return [migration for migration in known if migration.version not in recorded]


def _by_supabase(connection: Connection, known: list[Migration]) -> list[Migration]:
    """What the Supabase CLI has applied from the same files; it keeps its own record, without checksums."""
    if connection.execute("SELECT to_regclass('supabase_migrations.schema_migrations')").fetchone() == (None,):
        return []
    rows = connection.execute("SELECT version, name FROM supabase_migrations.schema_migrations")
    theirs = {(version, name) for version, name in rows}
    return [migration for migration in known if (migration.version, migration.name) in theirs]
