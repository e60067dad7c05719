"""The life of a conversation as a table; `docs/reference/conversation-states.md` draws it (a test compares).

`initializing`: rows exist, the platform is being asked. `active`: there is an address to open, or it is open.
`completed`: it took place. `failed`: it could not start.
"""

from typing import Literal

from oneiro.conversations.models import Status
from oneiro.errors import Conflict

Action = Literal["start", "connect", "report", "end", "fail"]

TRANSITIONS: dict[tuple[Status, Action], Status] = {
    ("initializing", "start"): "active",
    ("initializing", "fail"): "failed",
    ("initializing", "end"): "failed",
    ("active", "connect"): "active",
    ("active", "report"): "active",
    ("active", "end"): "completed",
}
# What an ended conversation answers with silence: a second end, a late failure.
REPEATS: frozenset[tuple[Status, Action]] = frozenset(
    {("completed", "end"), ("failed", "end"), ("failed", "fail"), ("completed", "fail")}
)


def after(status: Status, action: Action) -> Status | None:
    """The status that an action leads to; None when the action is a repeat that changes nothing.

    Raises `Conflict` (`conversation_ended`, `conversation_not_started`) when the action does not fit.
    """
    if (status, action) in REPEATS:
        return None
    following = TRANSITIONS.get((status, action))
    if following is not None:
        return following
    if status in {"completed", "failed"}:
        raise Conflict("The conversation has ended.", code="conversation_ended")
    raise Conflict("The conversation is not open yet.", code="conversation_not_started", retryable=True)
