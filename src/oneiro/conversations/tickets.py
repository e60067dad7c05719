"""Tickets: whoever holds one may open one relayed session of one conversation, once, within a quarter of an hour.

The ticket itself is never stored: `conversation_sessions.ticket_sha256` holds its digest. It is used up when the
platform's metadata arrives, so that an opening that failed can be tried again with the same address.
"""

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit, urlunsplit

LIFE: Final = timedelta(minutes=15)
PATH: Final = "/v1/relay"


@dataclass(frozen=True, slots=True)
class Ticket:
    """A new ticket: 256 random bits for the client, their digest for the row of its session."""

    secret: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)

    @property
    def sha256(self) -> str:
        """What is stored of it."""
        return digest(self.secret)

    def url(self, public_url: str) -> str:
        """The address that the ticket opens: `https://host` gives `wss://host/v1/relay?ticket=…`."""
        base = urlsplit(public_url)
        scheme = "wss" if base.scheme in {"https", "wss"} else "ws"
        return urlunsplit((scheme, base.netloc, base.path.rstrip("/") + PATH, f"ticket={self.secret}", ""))


def digest(secret: str) -> str:
    """The digest of a ticket; a fast hash is enough for a secret that cannot be guessed."""
    return hashlib.sha256(secret.encode()).hexdigest()
