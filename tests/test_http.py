"""What every route shares: bodies that break off."""

from collections.abc import Iterator

from starlette.types import Message, Receive, Scope, Send

from oneiro import http


async def test_a_body_whose_sender_went_away_reaches_no_route_and_is_no_fault() -> None:
    reached: list[Scope] = []
    answered: list[Message] = []
    messages: Iterator[Message] = iter(
        [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reached.append(scope)

    async def receive() -> Message:
        return next(messages)

    async def send(message: Message) -> None:
        answered.append(message)

    await http.BoundedBody(app)({"type": "http", "path": "/", "headers": [(b"content-length", b"9")]}, receive, send)

    assert (reached, answered) == ([], [])
