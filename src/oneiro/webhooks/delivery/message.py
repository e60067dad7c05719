"""An event as it is posted: a CloudEvents 1.0 JSON document, signed as Standard Webhooks has it."""

import base64
import json
import secrets
from datetime import UTC, datetime
from typing import Final

from standardwebhooks import Webhook

from oneiro.events.models import Event

CONTENT_TYPE: Final = "application/cloudevents+json; charset=utf-8"
_SECRET_BYTES: Final = 32
"""Standard Webhooks asks for 24 to 64."""


def new_secret() -> str:
    """A new secret for signing, as receivers' libraries take it."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def body(event: Event, source: str) -> bytes:
    """The event as it is delivered: ids, counts and codes, never what was said; the same at each attempt."""
    document: dict[str, object] = {
        "specversion": "1.0",
        "id": str(event.id),
        "source": source,
        "type": event.type,
        "subject": event.subject,
        "time": event.time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "datacontenttype": "application/json",
        "sequence": str(event.position),
        "data": dict(event.data),
    }
    if event.conversation_id is not None:
        document["conversationid"] = str(event.conversation_id)
    if event.user_id is not None:
        document["userid"] = str(event.user_id)
    return json.dumps(document, separators=(",", ":")).encode()


def headers(message_id: str, content: bytes, signers: list[str], now: datetime) -> dict[str, str]:
    """The headers of one attempt: the same id each time, the present time, and a signature by each secret."""
    moment, text = now.astimezone(UTC), content.decode()
    return {
        "content-type": CONTENT_TYPE,
        "user-agent": "Oneiro-Webhooks",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Webhook(secret).sign(message_id, moment, text) for secret in signers),
    }
