"""What the platform is told when a relayed session opens: made anew from the rows, so that no copy of a dream waits."""

from datetime import datetime

from oneiro.conversations import continuing, store
from oneiro.conversations.relayed.models import Row
from oneiro.conversations.start import material
from oneiro.database.pool import Connection
from oneiro.dreamers.models import Dreamer
from oneiro.dreams import store as dreams
from oneiro.interpreters.models import InterpreterDocument
from oneiro.interpreters.prompts import render_spoken, with_opening
from oneiro.interpreters.variables import conversation_values, neutral
from oneiro.interpreters.words.recall import remember


async def variables(
    conn: Connection, row: Row, dreamer: Dreamer, document: InterpreterDocument, now: datetime
) -> dict[str, str]:
    """Every dynamic variable of a session: the first greets, a later one goes on with what was told so far."""
    dream = await dreams.find(conn, row.user_id, row.dream_id) if row.dream_id else None
    lines = await store.latest_lines(conn, row.conversation_id) if row.session > 1 else []
    remembered = continuing.story(lines, document.name) if row.session > 1 else None
    memory = None
    if remembered is None and dreamer.consents.memory:
        memory = await remember(conn, row.user_id, row.interpreter_id)
    values = conversation_values(
        conversation_id=str(row.conversation_id),
        now=now,
        user_name=dreamer.name,
        dream=material(dream) if dream else None,
        remembered=remembered or (memory.summary if memory else ""),
        last_time=memory.last_time if memory else "",
    )
    if row.session > 1:
        return {**values, "opening": neutral(continuing.opening(lines, row.language, row.safety_tier))}
    return with_opening(document, "follow_up" if memory else "greeting", values)


def closing_words(document: InterpreterDocument, values: dict[str, str]) -> str:
    """The interpreter's goodbye."""
    return render_spoken(document, "closing", values)
