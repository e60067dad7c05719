"""Routes under /v1/convai/conversations."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import Field

from oneiro.engine.conversations import Record
from oneiro.engine.documents import Feedback
from oneiro.engine.models import Section
from oneiro.engine.problems import Refusal
from oneiro.engine.sound import wav
from oneiro.engine.state import EngineOf

router = APIRouter(prefix="/v1/convai/conversations")


class Wanted(Section):
    """Filters of the list; those that are absent admit everything."""

    cursor: str | None = None
    page_size: Annotated[int, Query(ge=1, le=100)] = 30
    sort_direction: Literal["asc", "desc"] = "desc"
    agent_id: str | None = None
    user_id: str | None = None
    version_id: str | None = None
    branch_id: str | None = None
    text_only: bool | None = None
    call_successful: Literal["success", "failure", "unknown"] | None = None
    call_start_after_unix: int | None = None
    call_start_before_unix: int | None = None
    exclude_statuses: list[str] = Field([])
    termination_reasons: list[str] = Field([])
    search: str | None = None

    def admits(self, record: Record) -> bool:
        """Whether the conversation belongs in the list."""
        return self._same(record) and self._within(record) and self._says(record)

    def _same(self, record: Record) -> bool:
        names = ("agent_id", "user_id", "version_id", "branch_id", "text_only")
        return all(getattr(self, name) in {None, getattr(record, name)} for name in names)

    def _within(self, record: Record) -> bool:
        after, before = self.call_start_after_unix, self.call_start_before_unix
        return (after is None or record.started >= after) and (before is None or record.started <= before)

    def _says(self, record: Record) -> bool:
        if record.status in self.exclude_statuses:
            return False
        if self.termination_reasons and record.termination not in self.termination_reasons:
            return False
        if self.call_successful and record.successful != self.call_successful:
            return False
        words = (self.search or "").casefold()
        return not words or any(words in line.message.casefold() for line in record.lines)


@router.get("")
async def list_conversations(wanted: Annotated[Wanted, Query()], engine: EngineOf) -> dict[str, Any]:
    """One page of the conversations, the newest first unless asked otherwise."""
    found = [record for record in engine.conversations.all() if wanted.admits(record)]
    shown, following = engine.conversations.page(
        found, size=wanted.page_size, cursor=wanted.cursor, descending=wanted.sort_direction == "desc"
    )
    rows = [record.row() for record in shown]
    return {"conversations": rows, "next_cursor": following, "has_more": following is not None}


@router.get("/{conversation_id}")
async def get_conversation(conversation_id: str, engine: EngineOf) -> dict[str, Any]:
    """One conversation with its transcript."""
    return engine.conversations.get(conversation_id).body()


@router.delete("/{conversation_id}")
async def delete_conversation(conversation_id: str, engine: EngineOf) -> None:
    """Forget a conversation."""
    engine.conversations.delete(conversation_id)


@router.get("/{conversation_id}/audio")
async def get_audio(conversation_id: str, engine: EngineOf) -> Response:
    """What the agent said aloud, as a WAV file."""
    record = engine.conversations.get(conversation_id)
    if not record.recording:
        raise Refusal(404, "missing_conversation_audio", "The conversation has no audio.", "not_found")
    return Response(wav(bytes(record.recording), record.recording_rate), media_type="audio/wav")


@router.post("/{conversation_id}/feedback")
async def give_feedback(conversation_id: str, body: Feedback, engine: EngineOf) -> None:
    """Keep what somebody thinks of the conversation; the browser posts this without a key."""
    record = engine.conversations.get(conversation_id)
    record.opinion = body.feedback or record.opinion
    record.rating = body.rating or record.rating
    record.comment = body.comment or record.comment
