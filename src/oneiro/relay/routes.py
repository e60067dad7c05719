"""`GET /v1/relay?ticket=…`, a WebSocket."""

from fastapi import APIRouter, WebSocket

from oneiro.relay.service import Relay

router = APIRouter()


@router.websocket("/relay")
async def relay(socket: WebSocket, ticket: str = "") -> None:
    """One call: the client's socket and the platform's, until one of them leaves."""
    calls: Relay = socket.app.state.relay
    await calls.serve(socket, ticket)
