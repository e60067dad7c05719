"""The interpreters Oneiro comes with, loaded at start without ever touching a team's own work.

Every seed of this version is present as a release. It is made the default only where the interpreter had no release
at all: a team's edits, rollbacks and retirements stay as they are, and the changed seed of a newer Oneiro waits as a
release that an operator can compare and activate.
"""

from importlib.resources import files

from oneiro import __version__
from oneiro.database.pool import Connection
from oneiro.interpreters import documents, releases, store
from oneiro.interpreters.models import InterpreterDocument

AUTHOR = "seed"


def seeds() -> list[InterpreterDocument]:
    """The documents under `seed/`, by id."""
    folder = files("oneiro.interpreters").joinpath("seed")
    found = sorted((item for item in folder.iterdir() if item.name.endswith(".yaml")), key=lambda item: item.name)
    return [documents.parse(item.read_bytes()) for item in found]


async def load_seeds(conn: Connection) -> list[str]:
    """Add what is missing in the caller's transaction; returns the ids of interpreters that got a release."""
    return [document.id for document in seeds() if await _load(conn, document)]


async def _load(conn: Connection, document: InterpreterDocument) -> bool:
    await store.insert_interpreter(conn, document)
    await store.lock(conn, document.id)
    if await store.knows_hash(conn, document.id, document.content_hash):
        return False
    is_first = await store.newest_number(conn, document.id) == 0
    made = await releases.publish(conn, document, created_by=AUTHOR, note=f"As shipped with Oneiro {__version__}")
    if is_first:
        await releases.activate(conn, document.id, made.number)
    return True
