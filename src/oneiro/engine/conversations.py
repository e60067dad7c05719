"""What is kept of each conversation, in the shape of GET /v1/convai/conversations/{id}."""

import secrets
from dataclasses import dataclass, field
from typing import Any, Literal

from oneiro.dreamwork import symbols
from oneiro.engine.paging import page
from oneiro.engine.problems import not_found

MOST_CONVERSATIONS = 5_000
MOST_LINES = 2_000
MOST_SUMMARISED = 20_000
"""Characters that a summary looks at."""
MOST_RECORDED = 64 * 1024 * 1024
"""Bytes of recorded speech kept over all conversations; the oldest recording goes first."""
Status = Literal["initiated", "in-progress", "processing", "done", "failed"]
Role = Literal["user", "agent"]


@dataclass
class Line:
    """One line of the transcript."""

    role: Role
    message: str
    event_id: int
    at: float
    medium: Literal["text", "audio"]
    ttfb: float | None = None
    llm: str | None = None
    guarded: bool = False
    interrupted: bool = False
    original: str | None = None
    feedback: str | None = None
    line_id: str = field(default_factory=lambda: secrets.token_hex(8))

    def body(self, started: float) -> dict[str, Any]:
        """The line as the platform shows it."""
        metrics = None if self.ttfb is None else {"convai_llm_service_ttfb": {"elapsed_time": round(self.ttfb, 4)}}
        seconds = int(self.at - started)
        return {
            "role": self.role,
            "message": self.message,
            "original_message": self.original,
            "time_in_call_secs": seconds,
            "interrupted": self.interrupted,
            "tool_calls": [],
            "tool_results": [],
            "feedback": {"score": self.feedback, "time_in_call_secs": seconds} if self.feedback else None,
            "conversation_turn_metrics": {"metrics": metrics} if metrics else None,
            "producing_llm": self.llm,
            "llm_usage": None,
            "rag_retrieval_info": None,
            "platform_event": None,
            "triggered_guardrails": [{"guardrail_type": "custom"}] if self.guarded else [],
            "source_medium": self.medium,
            "source_event_id": self.event_id,
            "id": self.line_id,
            "created_at_unix_ms": int(self.at * 1000),
        }


@dataclass
class Record:
    """One conversation from its opening to its end."""

    conversation_id: str
    agent_id: str
    agent_name: str
    version_id: str
    branch_id: str
    language: str
    authorization: str
    source: str
    started: float
    keeps_sound: bool = False
    text_only: bool = False
    status: Status = "initiated"
    user_id: str | None = None
    client_data: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    recording: bytearray = field(default_factory=bytearray)
    recording_rate: int = 16_000
    accepted: float | None = None
    ended: float | None = None
    termination: str = ""
    error: dict[str, Any] | None = None
    rating: int | None = None
    comment: str | None = None
    opinion: str | None = None
    summary: str | None = None

    def add(self, line: Line) -> None:
        """Keep a line; the oldest goes beyond the bound."""
        self.lines.append(line)
        del self.lines[:-MOST_LINES]

    def judge(self, event_id: int | None, score: str | None) -> None:
        """Keep what the client thinks of the line with this event id."""
        for line in reversed(self.lines):
            if line.event_id == event_id and line.role == "agent":
                line.feedback = score
                return

    def count(self, role: Role) -> int:
        """How many lines somebody has in the transcript."""
        return sum(line.role == role for line in self.lines)

    @property
    def seconds(self) -> int:
        """Seconds of the conversation; 0 until it has ended."""
        return int(self.ended - self.started) if self.ended else 0

    @property
    def successful(self) -> str:
        """Success when somebody spoke with the agent and no error ended it; unknown before the end."""
        if self.error:
            return "failure"
        return "success" if self.status == "done" and self.count("user") else "unknown"

    def summarise(self) -> None:
        """Keep one sentence on what was brought up: the images found in the user's own lines."""
        spoken = " ".join(line.message for line in self.lines if line.role == "user")[:MOST_SUMMARISED]
        images = list(dict.fromkeys(sighting.words for sighting in symbols.find(spoken)))[:5]
        if images:
            self.summary = f"Images that came up: {', '.join(images)}."
        else:
            self.summary = "No dream image was named." if spoken else "Nothing was said to the agent."

    def row(self) -> dict[str, Any]:
        """The conversation as a row of a list."""
        return {
            "agent_id": self.agent_id,
            "agent_name": self.agent_name,
            "branch_id": self.branch_id,
            "version_id": self.version_id,
            "conversation_id": self.conversation_id,
            "start_time_unix_secs": int(self.started),
            "call_duration_secs": self.seconds,
            "message_count": len(self.lines),
            "user_message_count": self.count("user"),
            "agent_message_count": self.count("agent"),
            "status": self.status,
            "termination_reason": self.termination,
            "call_successful": self.successful,
            "transcript_summary": self.summary,
            "main_language": self.language,
            "conversation_initiation_source": self.source,
            "rating": self.rating,
            "tag_ids": [],
        }

    def body(self) -> dict[str, Any]:
        """The whole conversation; also `data` of the post-call webhook."""
        return {
            "agent_id": self.agent_id,
            "agent_name": self.agent_name,
            "status": self.status,
            "user_id": self.user_id,
            "branch_id": self.branch_id,
            "version_id": self.version_id,
            "conversation_id": self.conversation_id,
            "has_audio": bool(self.recording),
            "has_user_audio": False,
            "has_response_audio": bool(self.recording),
            "has_auxiliary_audio": False,
            "environment": "production",
            "tag_ids": [],
            "user_message_count": self.count("user"),
            "agent_message_count": self.count("agent"),
            "transcript": [line.body(self.started) for line in self.lines],
            "metadata": self._metadata(),
            "analysis": self._analysis() if self.status == "done" else None,
            "conversation_initiation_client_data": self.client_data,
        }

    def _metadata(self) -> dict[str, Any]:
        scores = [line.feedback for line in self.lines if line.feedback]
        return {
            "start_time_unix_secs": int(self.started),
            "accepted_time_unix_secs": None if self.accepted is None else int(self.accepted),
            "call_duration_secs": self.seconds,
            "queue_wait_secs": 0.0,
            "cost": 0,
            "deletion_settings": {},
            "feedback": {
                "overall_score": self.opinion,
                "likes": scores.count("like"),
                "dislikes": scores.count("dislike"),
                "rating": self.rating,
                "comment": self.comment,
            },
            "authorization_method": self.authorization,
            "charging": {},
            "termination_reason": self.termination,
            "error": self.error,
            "main_language": self.language,
            "text_only": self.text_only,
            "conversation_initiation_source": self.source,
        }

    def _analysis(self) -> dict[str, Any]:
        return {
            "evaluation_criteria_results": {},
            "data_collection_results": {},
            "call_successful": self.successful,
            "transcript_summary": self.summary,
            "call_summary_title": f"A conversation with {self.agent_name}",
        }


class Conversations:
    """The conversations of one engine, the oldest forgotten beyond the bound."""

    def __init__(self) -> None:
        self._by_id: dict[str, Record] = {}
        self._recorded = 0

    def add(self, record: Record) -> None:
        """Keep a conversation from its opening on."""
        self._by_id[record.conversation_id] = record
        while len(self._by_id) > MOST_CONVERSATIONS:
            self.delete(next(iter(self._by_id)))

    def get(self, conversation_id: str) -> Record:
        """The conversation; 404 when it is not known here."""
        record = self._by_id.get(conversation_id)
        if record is None:
            raise not_found("conversation", conversation_id)
        return record

    def __contains__(self, record: Record) -> bool:
        return self._by_id.get(record.conversation_id) is record

    def delete(self, conversation_id: str) -> None:
        """Forget a conversation."""
        self._recorded -= len(self.get(conversation_id).recording)
        del self._by_id[conversation_id]

    def record(self, record: Record, sound: bytes) -> None:
        """Keep what the agent said aloud; the oldest recordings go beyond the bound."""
        if record.conversation_id not in self._by_id:
            return
        record.recording += sound
        self._recorded += len(sound)
        for each in list(self._by_id.values()):
            if self._recorded <= MOST_RECORDED:
                return
            self._recorded -= len(each.recording)
            each.recording.clear()

    def all(self) -> list[Record]:
        """Every conversation that is kept."""
        return list(self._by_id.values())

    @staticmethod
    def page(
        found: list[Record], *, size: int, cursor: str | None, descending: bool
    ) -> tuple[list[Record], str | None]:
        """One page, by the time of the opening."""
        return page(
            found,
            lambda record: (int(record.started * 1e6), record.conversation_id),
            size=size,
            cursor=cursor,
            descending=descending,
        )
