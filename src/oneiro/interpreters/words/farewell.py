"""The interpreter's farewell."""

from datetime import datetime
from uuid import UUID

from oneiro.database.pool import Connection
from oneiro.interpreters import store as interpreters
from oneiro.interpreters.prompts import render_spoken
from oneiro.interpreters.variables import DreamMaterial, conversation_values
from oneiro.interpreters.words import store


async def closing(conn: Connection, conversation_id: UUID, now: datetime) -> str | None:
    """The last words of a conversation, from the `closing` prompt of the release that leads it.

    For when the dreamer takes leave or time runs out; None when no release of ours leads the conversation.
    """
    parting = await store.parting(conn, conversation_id)
    if parting is None:
        return None
    release = await interpreters.release(conn, parting.interpreter_id, parting.release)
    assert release is not None, "a conversation's release cannot be deleted"
    values = conversation_values(
        conversation_id=str(conversation_id),
        now=now,
        user_name=parting.user_name,
        dream=_material(parting) if parting.has_dream else None,
    )
    return render_spoken(release.document, "closing", values)


def _material(parting: store.Parting) -> DreamMaterial:
    return DreamMaterial(
        text="",
        title=parting.dream_title,
        symbols=parting.dream_symbols,
        interpretation=parting.interpretation,
        interpretation_date=parting.interpretation_date,
    )
