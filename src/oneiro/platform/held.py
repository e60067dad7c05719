"""What the platform holds, in our words: accounts of conversations, and which agents and voices there are.

An account is `data` of its webhook, and of GET …/conversations/{id}.
Read tolerantly: new fields keep coming, any may be missing or of another kind, and what cannot be read is left out.
Shapes as of `elevenlabs` 2.78.0.
"""

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

from oneiro import text
from oneiro.platform.port import HeldAgent, HeldConversation, HeldEntry, HeldLine, HeldVoice

MOST_LINES: Final = 5_000
MOST_CHARACTERS: Final = 20_000
"""Of one line; longer ones are cut, since no turn of a conversation is."""
_MOST_WORD, _MOST_CRITERIA, _MOST_SUMMARY = 200, 50, 5_000
_SENDERS: Final[Mapping[object, Literal["user", "interpreter"]]] = {"user": "user", "agent": "interpreter"}
_OVER: Final = {"done", "failed"}


def read(data: object) -> HeldConversation | None:
    """The account in plain data; None when it does not say of which conversation."""
    tree = _tree(data)
    conversation_id = _word(tree.get("conversation_id"))
    if not conversation_id:
        return None
    metadata, analysis = _tree(tree.get("metadata")), _tree(tree.get("analysis"))
    variables = _tree(_tree(tree.get("conversation_initiation_client_data")).get("dynamic_variables"))
    started_at = _moment(metadata.get("start_time_unix_secs"))
    return HeldConversation(
        id=conversation_id,
        agent_id=_word(tree.get("agent_id")),
        our_id=_word(variables.get("conversation_id")),
        state="over" if _word(tree.get("status")) in _OVER else "open",
        started_at=started_at,
        seconds=_whole(metadata.get("call_duration_secs")),
        cost=_number(metadata.get("cost")),
        termination_reason=_word(metadata.get("termination_reason")),
        error_code=_word(_tree(metadata.get("error")).get("code")),
        successful=_word(analysis.get("call_successful")),
        evaluation=_evaluation(analysis.get("evaluation_criteria_results")),
        language=_word(metadata.get("main_language")),
        summary=_words(analysis.get("transcript_summary"), _MOST_SUMMARY),
        lines=_lines(tree.get("transcript"), started_at),
    )


def entry(row: object) -> HeldEntry | None:
    """A row of the list; None when it does not say of which conversation."""
    tree = _tree(row)
    conversation_id = _word(tree.get("conversation_id"))
    if not conversation_id:
        return None
    return HeldEntry(conversation_id, _word(tree.get("agent_id")), _moment(tree.get("start_time_unix_secs")))


def agents(data: object, tag: str) -> tuple[list[HeldAgent], str | None]:
    """The agents with this tag in a page of the list, and the cursor of the next page."""
    page = _tree(data)
    found = [_agent(_tree(row)) for row in _rows(page.get("agents"))]
    return [agent for agent in found if agent and tag in agent.tags], _following(page, "next_cursor")


def voices(data: object) -> tuple[list[HeldVoice], str | None]:
    """The designed voices in a page of the list, and the cursor of the next page: it may have added ready ones."""
    page = _tree(data)
    rows = [_tree(row) for row in _rows(page.get("voices"))]
    found = [_voice(row) for row in rows if row.get("category") == "generated"]
    return [voice for voice in found if voice], _following(page, "next_page_token")


def _agent(row: Mapping[str, Any]) -> HeldAgent | None:
    agent_id = _word(row.get("agent_id"))
    if not agent_id:
        return None
    tags = tuple(tag for tag in _rows(row.get("tags")) if isinstance(tag, str))
    called = row.get("last_call_time_unix_secs") is not None
    return HeldAgent(agent_id, tags, _moment(row.get("created_at_unix_secs")), called)


def _voice(row: Mapping[str, Any]) -> HeldVoice | None:
    voice_id = _word(row.get("voice_id"))
    if not voice_id:
        return None
    return HeldVoice(voice_id, _word(row.get("name")) or "", _moment(row.get("created_at_unix")))


def _following(page: Mapping[str, Any], name: str) -> str | None:
    return (_word(page.get(name)) if page.get("has_more") else None) or None


def _rows(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _lines(transcript: object, started_at: datetime | None) -> tuple[HeldLine, ...]:
    rows = transcript[:MOST_LINES] if isinstance(transcript, list) else []
    found = (_line(_tree(row), started_at) for row in rows)
    return tuple(line for line in found if line)


def _line(row: Mapping[str, Any], started_at: datetime | None) -> HeldLine | None:
    sender = _SENDERS.get(row["role"]) if isinstance(row.get("role"), str) else None
    said = _words(row.get("message"), MOST_CHARACTERS)
    if sender is None or not said:
        return None
    seconds = max(_number(row.get("time_in_call_secs")) or 0.0, 0.0)
    milliseconds = _number(row.get("created_at_unix_ms"))
    at = None if milliseconds is None else _moment(milliseconds / 1000)
    return HeldLine(
        sender=sender,
        text=said,
        original=_words(row.get("original_message"), MOST_CHARACTERS),
        seconds=seconds,
        at=at or _after(started_at, seconds),
        interrupted=row.get("interrupted") is True,
        event_id=_whole(row.get("source_event_id")),
    )


def _after(started_at: datetime | None, seconds: float) -> datetime | None:
    return None if started_at is None or seconds > 1e6 else started_at + timedelta(seconds=seconds)


def _evaluation(results: object) -> dict[str, str]:
    found = {_word(name): _word(_tree(result).get("result")) for name, result in _tree(results).items()}
    return dict([(name, result) for name, result in found.items() if name and result][:_MOST_CRITERIA])


def _tree(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _words(value: object, limit: int) -> str | None:
    return (text.clean(value[:limit]) or None) if isinstance(value, str) else None


def _word(value: object) -> str | None:
    return _words(value, _MOST_WORD)


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value) if abs(value) < 1e15 else None


def _whole(value: object) -> int | None:
    number = _number(value)
    return None if number is None else int(number)


def _moment(value: object) -> datetime | None:
    """A time given in seconds since 1970; None for one that no conversation can have."""
    seconds = _number(value)
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None and 0 < seconds < 1e11 else None
