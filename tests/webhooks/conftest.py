"""What tests of webhooks share: the service's pool, receivers on loopback, conversations, operators' API."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from oneiro.database.pool import Database
from oneiro.events.bell import Bell
from oneiro.events.sequencer import Sequencer

Look = Callable[..., Awaitable[list[tuple[Any, ...]]]]


@dataclass
class Receiver:
    """Somebody else's server: gives its answers in turn, the last one for ever, and keeps what it was sent."""

    url: str = ""
    answers: list[Response] = field(default_factory=lambda: [Response()])
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    gate: asyncio.Event | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append((dict(request.headers) | {"path": scope["path"]}, await request.body()))
        if self.gate is not None:
            await self.gate.wait()
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        await answer(scope, receive, send)


Serve = Callable[..., Awaitable[str]]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Serves an ASGI app on a free loopback port and gives its address."""
    async with AsyncExitStack() as stack:

        async def serving(app: Any, **options: Any) -> str:
            listener = socket.create_server(("127.0.0.1", 0))
            config = uvicorn.Config(app, log_config=None, lifespan="off", timeout_graceful_shutdown=1, **options)
            server = uvicorn.Server(config)
            task = asyncio.create_task(server.serve(sockets=[listener]))
            while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag and offers no event.
                await asyncio.sleep(0)

            async def stop() -> None:
                server.should_exit = True
                await task

            stack.push_async_callback(stop)
            return f"{'https' if options else 'http'}://127.0.0.1:{listener.getsockname()[1]}"

        yield serving


@pytest.fixture
async def receiver(serve: Serve) -> Receiver:
    receiver = Receiver()
    receiver.url = f"{await serve(receiver)}/hook"
    return receiver


@pytest.fixture
async def database(service_url: str) -> AsyncIterator[Database]:
    database = Database(service_url, max_size=16, timeout=30.0)
    await database.open()
    yield database
    await database.close()


@pytest.fixture
def bell(service_url: str) -> Bell:
    """A bell that nobody carries to other processes."""
    return Bell(service_url)


@pytest.fixture
def sequencer(database: Database, bell: Bell) -> Sequencer:
    return Sequencer(database, bell)


@pytest.fixture
def look(db_url: str) -> Look:
    """Runs a statement as the superuser and gives its rows."""

    async def rows(statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with await psycopg.AsyncConnection.connect(db_url, autocommit=True) as conn:
            cursor = await conn.execute(statement.encode(), values)
            return await cursor.fetchall() if cursor.description else []

    return rows


@pytest.fixture
async def dreamer(look: Look) -> UUID:
    """A dreamer, and an interpreter with a release to talk to."""
    user_id = uuid4()
    await look("INSERT INTO profiles (user_id) VALUES (%s)", user_id)
    await look("INSERT INTO interpreter_configs (id, name, full_name, description) VALUES ('carl', 'C', 'C', 'x')")
    await look(
        "INSERT INTO interpreter_releases (interpreter_id, number, document, content_hash, created_by)"
        " VALUES ('carl', 1, '{}', 'aa', 'seed')"
    )
    return user_id


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A self-signed certificate of `hooks.example` and its key, as files."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.example")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    place = tmp_path_factory.mktemp("tls")
    chain, secret = place / "chain.pem", place / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(chain), str(secret)
