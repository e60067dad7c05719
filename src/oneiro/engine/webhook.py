"""The post-call webhook: `ElevenLabs-Signature: t=<seconds>,v0=<hex HMAC-SHA256 of "t.body">`, sent once."""

import asyncio
import hashlib
import hmac
import json
import logging

import httpx

from oneiro.engine.conversations import Record
from oneiro.engine.state import Engine

log = logging.getLogger(__name__)


def signature(secret: str, body: bytes, now: int) -> str:
    """The value of the signature header."""
    digest = hmac.new(secret.encode(), f"{now}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={now},v0={digest}"


async def deliver(engine: Engine, record: Record) -> None:
    """Post the conversation to the webhook of the settings; a failure is logged, not repeated, as on the platform."""
    settings = engine.settings
    fault = engine.faults.webhook()
    if settings.webhook_url is None or (fault and fault.what == "never"):
        return
    if fault and fault.what == "late":
        await asyncio.sleep(fault.seconds)
    now = int(engine.now())
    event = {"type": "post_call_transcription", "event_timestamp": now, "data": record.body()}
    body = json.dumps(event).encode()
    headers = {"Content-Type": "application/json"}
    if settings.webhook_secret:
        headers["ElevenLabs-Signature"] = signature(settings.webhook_secret, body, now)
    try:
        if fault and fault.what == "duplicate":
            await engine.http.post(settings.webhook_url, content=body, headers=headers)
        response = await engine.http.post(settings.webhook_url, content=body, headers=headers)
    except httpx.HTTPError as error:
        log.warning("engine.webhook_failed", extra={"cause": type(error).__name__})
        return
    if response.is_error:
        log.warning("engine.webhook_refused", extra={"status": response.status_code})
