"""Everything on one machine: PostgreSQL, engine (without a platform key) and API, or the one that runs already."""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import structlog
from psycopg import sql
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.breaker import CircuitBreaker, State
from oneiro.cli.listen import bind, listening
from oneiro.database.embedded import Server, embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.engine.app import running
from oneiro.engine.settings import EndpointError, EngineSettings, LlmEndpoint
from oneiro.errors import PlatformUnavailable, SetupError
from oneiro.interpreters.agents.stand_in import EngineAddress
from oneiro.interpreters.seed import load_seeds
from oneiro.platform.faults import COME_AGAIN
from oneiro.safety.cards import guardrail
from oneiro.settings import Settings

DATABASE = "oneiro"
SERVICE = "oneiro_service"
WAIT_SECONDS = 30.0
MODEL_SECONDS = 90.0
"""In which a language model must have answered; the engine itself is stricter, and tells why."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Stack:
    """A running Oneiro on this machine.

    `own` says that this process runs it; `failed` is set when its database or its server cannot be kept running.
    """

    api_url: str
    simulated: bool
    own: bool
    database_url: str
    failed: asyncio.Event


@asynccontextmanager
async def local_stack(settings: Settings, *, port: int | None = None, speed: float = 1.0) -> AsyncIterator[Stack]:
    """Run Oneiro in this process until the block ends, or join the one that runs on the data directory.

    `port` None takes a free one. Raises `SetupError` with one line when something of the machine is in the way.
    """
    async with AsyncExitStack() as stack:
        if not (settings.data_dir / "server.json").exists():
            # Nobody is running here, so a port that is taken is said before PostgreSQL has been started for nothing.
            bind(settings.host, settings.port if port is None else port, what="the API").close()
        server = await stack.enter_async_context(embedded(settings.data_dir, binaries=settings.postgres_bin))
        if not server.owner:
            yield await _joined(server)
            return
        sock = bind(settings.host, settings.port if port is None else port, what="the API")
        stack.callback(sock.close)
        await asyncio.to_thread(_create_database, server)
        await asyncio.to_thread(migrate, server.url(DATABASE))
        await _load_interpreters(server)
        simulated = settings.elevenlabs_api_key is None
        settings = _local(settings, server)
        llm = model_breaker(settings)
        if simulated:
            settings = await with_engine(stack, settings, speed, llm, api_port=sock.getsockname()[1])
        # Where the platform is simulated, it is an engine of this process itself, and as near as a stand-in.
        stand_in = None if simulated else await stack.enter_async_context(standing_in(settings, llm))
        app = create_app(settings, Surroundings(simulated=simulated, local=True, stand_in=stand_in, llm=llm))
        api = await stack.enter_async_context(listening(app, sock, leaving=app.state.tail.close))
        api.task.add_done_callback(lambda _ended: server.failed.set())
        server.publish(api_url=api.url, simulated=simulated)
        yield Stack(api.url, simulated, own=True, database_url=server.url(DATABASE, SERVICE), failed=server.failed)


async def _joined(server: Server) -> Stack:
    # The owner publishes its address last; until then it is still starting.
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while "api_url" not in (facts := server.facts):  # noqa: ASYNC110 - another process writes it.
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise SetupError("another process holds the data directory and serves nothing; end it first") from None
    database_url = server.url(DATABASE, SERVICE)
    return Stack(facts["api_url"], facts["simulated"], own=False, database_url=database_url, failed=server.failed)


def _create_database(server: Server) -> None:
    with psycopg.connect(server.admin_url, autocommit=True) as conn:
        if conn.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone() is None:
            conn.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))


async def _load_interpreters(server: Server) -> None:
    database = Database(server.url(DATABASE, SERVICE))
    await database.open()
    try:
        async with database.as_service() as conn:
            await load_seeds(conn)
    finally:
        await database.close()


def _local(settings: Settings, server: Server) -> Settings:
    # Embedded mode signs people in itself, whatever issuer the environment names.
    secret = settings.jwt_secret or SecretStr(local_secret(settings.data_dir, make=True))
    url = SecretStr(server.url(DATABASE, SERVICE))
    return settings.model_copy(update={"database_url": url, "jwt_secret": secret, "jwks_url": None})


def local_secret(data_dir: Path, *, make: bool = False) -> str:
    """The secret of embedded mode's tokens, made once in the data directory.

    Raises `SetupError` when there is none and none is to be made.
    """
    path = data_dir / "jwt_secret"
    if not path.exists():
        if not make:
            raise SetupError(f"{data_dir} holds no Oneiro yet: start it once with oneiro up, or set ONEIRO_JWT_SECRET")
        # Written beside and moved, so that a crash cannot leave an empty secret.
        fresh = data_dir / f"jwt_secret.{os.getpid()}"
        fresh.touch(mode=0o600)
        fresh.write_text(secrets.token_urlsafe(48))
        fresh.replace(path)
    secret = path.read_text().strip()
    if not secret:
        raise SetupError(f"{path} is empty: remove it, and the next start makes a new one")
    return secret


async def with_engine(
    stack: AsyncExitStack, settings: Settings, speed: float, llm: CircuitBreaker | None, *, api_port: int
) -> Settings:
    """Settings that lead to an engine of this process, with a key that only they know: it holds what people say."""
    key, secret = secrets.token_urlsafe(32), secrets.token_urlsafe(32)
    told = replace(
        engine_settings(settings, speed, llm),
        api_keys=frozenset({key}),
        webhook_url=f"http://127.0.0.1:{api_port}/webhooks/elevenlabs",
        webhook_secret=secret,
    )
    url = await stack.enter_async_context(running(told))
    return settings.model_copy(
        update={
            "elevenlabs_api_key": SecretStr(key),
            "elevenlabs_base_url": url,
            "elevenlabs_webhook_secret": SecretStr(secret),
        }
    )


@asynccontextmanager
async def standing_in(
    settings: Settings, llm: CircuitBreaker | None, *, speed: float = 1.0
) -> AsyncIterator[EngineAddress | None]:
    """An engine of this process for when the platform is away, if there is a language model to put behind it."""
    if settings.llm_base_url is None:
        yield None
        return
    key = secrets.token_urlsafe(32)
    async with running(replace(engine_settings(settings, speed, llm), api_keys=frozenset({key}))) as url:
        yield EngineAddress(url, key)


def model_breaker(settings: Settings) -> CircuitBreaker | None:
    """The breaker of the language model, if there is one; while it is open, dreamwork answers at once."""
    if settings.llm_base_url is None:
        return None
    return CircuitBreaker("llm", call_timeout=MODEL_SECONDS, is_fault=_is_model_fault, report=_report)


def _guard(breaker: CircuitBreaker) -> Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]:
    async def guarded(attempt: Callable[[], Awaitable[Any]]) -> Any:
        try:
            return await breaker.call(attempt)
        except PlatformUnavailable as error:
            raise EndpointError(error.code) from None

    return guarded


def _is_model_fault(error: Exception) -> bool:
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code in COME_AGAIN or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError | EndpointError)


def _report(name: str, state: State) -> None:
    log.warning("breaker.changed", name=name, state=state)


def engine_settings(settings: Settings, speed: float = 1.0, llm: CircuitBreaker | None = None) -> EngineSettings:
    """The engine as the commands run it: with the crisis guard, and the configured endpoint behind a breaker."""
    endpoint, llm = None, llm or model_breaker(settings)
    if settings.llm_base_url and llm:
        key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
        endpoint = LlmEndpoint(settings.llm_base_url, settings.llm_model, key, guard=_guard(llm))
    return EngineSettings(guardrail=guardrail, llm=endpoint, speed=speed)
