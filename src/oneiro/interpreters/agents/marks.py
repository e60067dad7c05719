"""By what agents and voices of this installation are known on the platform, whose workspace others may share."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar
from uuid import UUID

import structlog

from oneiro.platform.port import OWNER_TAG

MOST_PAGES: Final = 100
SHA_SHOWN: Final = 16
"""How much of a description's hash stands in the name of its voice."""

Held = TypeVar("Held")
log = structlog.get_logger(__name__)


def tag(installation: str, row_id: UUID) -> str:
    """Names the agent of one row: a later row of the same release never adopts what was forgotten before."""
    return f"{prefix(installation)}{row_id.hex}"


def prefix(installation: str) -> str:
    """Begins the tags of this installation's agents: others may have theirs in the same workspace."""
    return f"{OWNER_TAG}-{installation}-"


def voice_name(name: str, mark: str, sha: str) -> str:
    """The name of a voice on the platform: the interpreter's, and our mark with what it was designed from."""
    return f"{name[:50]} · {mark}{sha[:SHA_SHOWN]}"


def voice_sha(name: str, mark: str) -> str | None:
    """The beginning of the description's hash in a voice's name; None when it does not bear our mark."""
    sha = name.rpartition(f" · {mark}")[2]
    return sha if len(sha) == SHA_SHOWN and sha != name else None


async def every(page_of: Callable[[str | None], Awaitable[tuple[list[Held], str | None]]]) -> AsyncIterator[Held]:
    """Each thing of a list that comes in pages, of the first `MOST_PAGES`."""
    cursor: str | None = None
    for _ in range(MOST_PAGES):
        page, cursor = await page_of(cursor)
        for each in page:
            yield each
        if cursor is None:
            return
    log.warning("platform.list_cut", pages=MOST_PAGES)
