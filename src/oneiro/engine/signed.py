"""Signed URLs: whoever holds one may open one conversation, once, within a quarter of an hour."""

import secrets
from dataclasses import dataclass

LIFE = 900.0
"""Seconds in which a signed URL may be opened; the conversation may last longer."""
MOST_SIGNATURES = 10_000


@dataclass(frozen=True)
class Admission:
    """What a signature admits to."""

    agent_id: str
    version_id: str | None
    conversation_id: str | None
    expires: float


class Signatures:
    """Outstanding signatures of one engine, the oldest forgotten beyond the bound."""

    def __init__(self) -> None:
        self._open: dict[str, Admission] = {}

    def issue(self, admission: Admission) -> str:
        """A new signature."""
        signature = f"cvtkn_{secrets.token_urlsafe(24)}"
        self._open[signature] = admission
        while len(self._open) > MOST_SIGNATURES:
            del self._open[next(iter(self._open))]
        return signature

    def redeem(self, signature: str, now: float) -> Admission | None:
        """What the signature admits to; None when it was used, has expired or was never issued."""
        admission = self._open.pop(signature, None)
        return admission if admission and now < admission.expires else None
