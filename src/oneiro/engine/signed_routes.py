"""Routes under /v1/convai/conversation: how a client gets to the socket."""

import secrets
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request

from oneiro.engine.problems import Refusal
from oneiro.engine.signed import LIFE, Admission
from oneiro.engine.state import EngineOf

router = APIRouter(prefix="/v1/convai/conversation")


@router.get("/get-signed-url")
@router.get("/get_signed_url", deprecated=True)
async def get_signed_url(
    request: Request,
    engine: EngineOf,
    agent_id: Annotated[str, Query()],
    *,
    include_conversation_id: bool = False,
    version_id: str | None = None,
    branch_id: str | None = None,
) -> dict[str, str]:
    """A URL that opens one conversation with the agent, pinned to a version when one is named."""
    if engine.faults.full(engine.sockets):
        raise Refusal(429, "concurrent_limit_exceeded", "Too many concurrent conversations.", "rate_limit_error")
    agent = engine.agents.get(agent_id)
    if branch_id not in {None, agent.branch_id}:
        raise Refusal(404, "branch_not_found", "The agent has no such branch.", "not_found")
    pinned = agent.version(version_id).version_id if version_id else None
    conversation_id = f"conv_{secrets.token_hex(14)}" if include_conversation_id else None
    signature = engine.signatures.issue(Admission(agent_id, pinned, conversation_id, engine.now() + LIFE))
    query = {"agent_id": agent_id, "conversation_signature": signature}
    if conversation_id:
        query["conversation_id"] = conversation_id
    scheme = "wss" if request.url.scheme == "https" else "ws"
    return {"signed_url": f"{scheme}://{request.url.netloc}/v1/convai/conversation?{urlencode(query)}"}


@router.get("/token")
async def get_webrtc_token() -> None:
    """Refuse clearly: this engine speaks WebSocket, not WebRTC."""
    raise Refusal(404, "webrtc_not_supported", "This engine has no WebRTC; ask for a signed URL.", "not_found")
