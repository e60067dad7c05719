"""The API as an ASGI app: every feature's routes on the parts of this process."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid5

from fastapi import APIRouter, FastAPI, Request, Response, status
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

from oneiro import __version__, http
from oneiro.analytics.insights import routes as insight_routes
from oneiro.analytics.reports import routes as report_routes
from oneiro.auth import issue_token
from oneiro.background import consumer_names, listening, working
from oneiro.conversations import routes as conversation_routes
from oneiro.conversations.flags import routes as flag_routes
from oneiro.conversations.operating import routes as operating_routes
from oneiro.database.migrate import lacking
from oneiro.database.pool import DatabaseUnavailable
from oneiro.dreamers import routes as dreamer_routes
from oneiro.dreams import routes as dream_routes
from oneiro.errors import NotFound
from oneiro.events import routes as event_routes
from oneiro.interpreters import routes as interpreter_routes
from oneiro.interpreters.experiments import routes as experiment_routes
from oneiro.interpreters.overview import routes as overview_routes
from oneiro.interpreters.publishing import routes as publishing_routes
from oneiro.jobs import routes as job_routes
from oneiro.monitoring import routes as monitoring_routes
from oneiro.monitoring.middleware import Measured
from oneiro.parts import Parts, Surroundings, make_parts, utc_now
from oneiro.privacy import routes as privacy_routes
from oneiro.relay import routes as relay_routes
from oneiro.safety.crisis import assess
from oneiro.settings import Settings
from oneiro.web import help_lines
from oneiro.web.pages import PLATFORM, create_pages
from oneiro.webhooks.endpoints import routes as webhook_routes
from oneiro.webhooks.inbox import routes as inbox_routes
from oneiro.webhooks.inbox import service as inbox

__all__ = ["Surroundings", "create_app", "is_loopback", "local_dreamer", "utc_now"]

ROUTERS = (
    conversation_routes.lines,  # First, because it is asked most by far and each router takes its time to say no.
    conversation_routes.starts,
    interpreter_routes.router,
    interpreter_routes.schema_router,
    publishing_routes.router,
    experiment_routes.router,
    overview_routes.router,
    dreamer_routes.router,
    privacy_routes.router,
    dream_routes.router,
    conversation_routes.router,
    operating_routes.router,
    flag_routes.router,
    event_routes.router,
    job_routes.router,
    webhook_routes.router,
    relay_routes.router,
    report_routes.router,
    insight_routes.router,
    help_lines.router,
)

# What a process that serves calls alone answers.
CALLS = (relay_routes.router,)

SESSION_TTL = timedelta(hours=12)
MAX_RELEASE_BODY = 2 * 1024 * 1024


def create_app(
    settings: Settings,
    surroundings: Surroundings | None = None,
    *,
    worker: bool = True,
    routers: Sequence[APIRouter] = ROUTERS,
    clock: Callable[[], datetime] = utc_now,
) -> FastAPI:
    """The API; with `worker` the process also stamps events, runs their consumers and the jobs.

    Raises `SetupError` when a setting it cannot do without is missing.
    """
    parts = make_parts(settings, surroundings, consumers=consumer_names(settings), clock=clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            # The gate reads its rules now, and not while the first dreamer waits.
            await asyncio.to_thread(assess, "")
            await stack.enter_async_context(parts.open())
            await stack.enter_async_context(listening(parts))
            if worker:
                await stack.enter_async_context(working(parts, app.state.stopping))
            await stack.enter_async_context(parts.relay.running())
            yield

    app = FastAPI(
        title="Oneiro",
        version=__version__,
        summary="Tell a dream to Carl or Lakshmi, and talk it through.",
        lifespan=lifespan,
        docs_url=None,  # Their pages load scripts from elsewhere.
        redoc_url=None,
        responses={"4XX": {"model": http.Problem}, "5XX": {"model": http.Problem}},
        # Our own traces (`tracing`) leave out what its would hold: paths, texts of errors, what was sent.
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    for part in fields(Parts):
        setattr(app.state, part.name, getattr(parts, part.name))
    app.state.tokens = http.RememberedTokens(parts.tokens)
    app.state.stopping = asyncio.Event()
    _install(app, parts, routers)
    return app


def _install(app: FastAPI, parts: Parts, routers: Sequence[APIRouter]) -> None:
    http.install_problems(app)
    app.add_middleware(http.BoundedBody, larger={"/v1/admin/interpreters": MAX_RELEASE_BODY}, own={inbox.PATH})
    app.add_middleware(http.StorableAddress)
    if parts.settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=parts.settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            max_age=600,
        )
    app.add_middleware(http.Faults)
    app.add_middleware(Measured, metrics=parts.metrics)
    for router in routers:
        app.include_router(router, prefix="/v1")
    app.include_router(_health)
    app.include_router(monitoring_routes.router)
    app.include_router(inbox_routes.router)
    app.include_router(_pages(parts.settings, simulated=parts.surroundings.simulated))
    if parts.surroundings.local:
        app.include_router(_local_session(parts), prefix="/v1")


def _pages(settings: Settings, *, simulated: bool) -> APIRouter:
    sockets = [settings.elevenlabs_base_url or PLATFORM, *([settings.public_url] if settings.public_url else [])]
    return create_pages(sockets=sockets, embedders=settings.cors_origins, simulated=simulated)


_health = APIRouter(tags=["health"])


@_health.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok", "version": __version__}


@_health.get("/readyz", responses={503: {"description": "Not now."}})
async def readyz(request: Request, response: Response) -> dict[str, bool | dict[str, int]]:
    """Whether the process can serve: it reaches a database with its schema, and is not about to stop.

    `lag`, events by consumer, is told and decides nothing: a balancer that sent calls elsewhere would not shorten it.
    """
    stopping, lag = request.app.state.stopping.is_set(), {}
    try:
        database, schema = True, not await lacking(request.app.state.database)
        if schema:
            lag = await request.app.state.events.lag()
    except DatabaseUnavailable:
        database, schema = False, False
    ready = database and schema and not stopping
    response.status_code = status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return {"ready": ready, "database": database, "schema": schema, "stopping": stopping, "lag": lag}


class LocalSession(BaseModel):
    """A token for the person at this machine."""

    token: str
    user_id: UUID
    expires_at: datetime


def local_dreamer() -> UUID:
    """The dreamer of embedded mode: always the same one, so that her journal is there tomorrow."""
    return uuid5(NAMESPACE_URL, "urn:oneiro:local-dreamer")


def _local_session(parts: Parts) -> APIRouter:
    router = APIRouter(tags=["local"])

    @router.post("/dev/session")
    async def session(request: Request) -> LocalSession:
        """Sign in the person at this machine; only embedded mode has this, and only for loopback."""
        # The Host header is checked too: a foreign page that points its own name at 127.0.0.1 gets nothing.
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if not (is_loopback(request.client and request.client.host) and is_loopback(host)):
            raise NotFound("There is no such page.")
        assert parts.settings.jwt_secret is not None
        user_id, now = local_dreamer(), parts.clock()
        token = issue_token(
            parts.settings.jwt_secret.get_secret_value(),
            user_id=user_id,
            ttl=SESSION_TTL,
            now=now,
            audience=parts.settings.jwt_audience,
            issuer=parts.settings.jwt_issuer,
        )
        return LocalSession(token=token, user_id=user_id, expires_at=now + SESSION_TTL)

    return router


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
