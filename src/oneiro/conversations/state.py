"""The life of a conversation as a table; `docs/reference/conversation-states.md` draws it (a test compares).

`initializing`: rows exist, the platform is being asked. `active`: there is an address to open, or it is open.
`paused`: nobody is connected, and the dreamer may come back (stored as `active` with `paused_at`).
`completed`: it took place. `failed`: it could not start.
"""

from typing import Literal

from oneiro.conversations.models import Status
from oneiro.errors import Conflict

State = Literal["initializing", "active", "paused", "completed", "failed"]
Action = Literal["start", "fail", "lapse", "connect", "report", "pause", "resume", "end", "time_out", "shut_down"]

TRANSITIONS: dict[tuple[State, Action], State] = {
    ("initializing", "start"): "active",
    ("initializing", "fail"): "failed",
    ("initializing", "lapse"): "failed",
    ("initializing", "end"): "failed",
    ("initializing", "shut_down"): "failed",
    ("active", "lapse"): "failed",
    ("active", "connect"): "active",
    ("active", "report"): "active",
    ("active", "pause"): "paused",
    ("active", "resume"): "active",
    ("active", "end"): "completed",
    ("active", "time_out"): "completed",
    ("active", "shut_down"): "completed",
    ("paused", "connect"): "paused",
    ("paused", "report"): "paused",
    ("paused", "resume"): "active",
    ("paused", "end"): "completed",
    ("paused", "time_out"): "completed",
    ("paused", "shut_down"): "completed",
}
# What is answered with silence: the second pause, the second end, a late failure.
REPEATS: frozenset[tuple[State, Action]] = frozenset(
    {
        ("paused", "pause"),
        ("completed", "end"),
        ("completed", "fail"),
        ("completed", "lapse"),
        ("completed", "time_out"),
        ("completed", "shut_down"),
        ("failed", "end"),
        ("failed", "fail"),
        ("failed", "lapse"),
        ("failed", "time_out"),
        ("failed", "shut_down"),
    }
)


def state(status: Status, *, paused: bool) -> State:
    """The state of a conversation by its status and whether it has a `paused_at`."""
    return "paused" if status == "active" and paused else status


def status(state: State) -> Status:
    """The status that is stored for a state."""
    return "active" if state == "paused" else state


def after(state: State, action: Action) -> State | None:
    """The state that an action leads to; None when the action is a repeat that changes nothing.

    Raises `Conflict` (`conversation_ended`, `conversation_not_started`, `conversation_open`) when it does not fit.
    """
    if (state, action) in REPEATS:
        return None
    following = TRANSITIONS.get((state, action))
    if following is not None:
        return following
    if state in {"completed", "failed"}:
        raise Conflict("The conversation has ended.", code="conversation_ended")
    if state == "initializing":
        raise Conflict("The conversation is not open yet.", code="conversation_not_started", retryable=True)
    raise Conflict("The conversation is open.", code="conversation_open")
