"""The composition root: every part is made here and handed to those that need it."""

import ipaddress
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

from fastapi import APIRouter, FastAPI, Request, Response, status
from fastapi.middleware.cors import CORSMiddleware
from pydantic import BaseModel

from oneiro import __version__, http
from oneiro.auth import KeySet, SharedSecret, Tokens, issue_token
from oneiro.breaker import CircuitBreaker
from oneiro.conversations import routes as conversation_routes
from oneiro.conversations.ingest.service import Ingest
from oneiro.conversations.relayed.service import Relayed
from oneiro.conversations.resume import Resumes
from oneiro.conversations.service import Conversations
from oneiro.conversations.start import Starts
from oneiro.conversations.sweep.service import Sweeper
from oneiro.database.pool import Database, reachable
from oneiro.dreamers import routes as dreamer_routes
from oneiro.dreamers.service import Dreamers
from oneiro.dreams import routes as dream_routes
from oneiro.dreams.service import Dreams
from oneiro.errors import NotFound, SetupError
from oneiro.interpreters import routes as interpreter_routes
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.cards import Cards
from oneiro.interpreters.experiments import routes as experiment_routes
from oneiro.interpreters.experiments.service import Experiments
from oneiro.interpreters.overview import routes as overview_routes
from oneiro.interpreters.overview.service import PlatformOverview
from oneiro.interpreters.publishing import routes as publishing_routes
from oneiro.interpreters.publishing.service import Publishing
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.relay import routes as relay_routes
from oneiro.relay.service import Relay
from oneiro.settings import Settings

ROUTERS = (
    interpreter_routes.router,
    interpreter_routes.schema_router,
    publishing_routes.router,
    experiment_routes.router,
    overview_routes.router,
    dreamer_routes.router,
    dream_routes.router,
    conversation_routes.router,
    relay_routes.router,
)

SESSION_TTL = timedelta(hours=12)
MAX_RELEASE_BODY = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command knows beyond the settings.

    `simulated`: the platform is an engine, and everything says so. `local`: embedded mode, where `POST
    /v1/dev/session` signs a person on this machine in without a password.
    """

    simulated: bool = False
    local: bool = False


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


def create_app(
    settings: Settings, surroundings: Surroundings | None = None, *, clock: Callable[[], datetime] = utc_now
) -> FastAPI:
    """The API as an ASGI app; raises `SetupError` when a setting it cannot do without is missing."""
    around = surroundings or Surroundings()
    if settings.database_url is None or settings.elevenlabs_api_key is None:
        raise SetupError("set ONEIRO_DATABASE_URL and ELEVENLABS_API_KEY (or try Oneiro with: oneiro up)")
    database = Database(settings.database_url.get_secret_value())
    keys = _keys(settings)
    breakers = CircuitBreaker("conversations"), CircuitBreaker("agents")
    platform = ElevenLabsPlatform(
        settings.elevenlabs_api_key.get_secret_value(),
        base_url=settings.elevenlabs_base_url,
        conversations=breakers[0],
        provisioning=breakers[1],
        clock=clock,
    )

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        await database.open()
        try:
            async with app.state.relay.running():
                yield
        finally:
            await platform.close()
            if isinstance(keys, KeySet):
                await keys.close()
            await database.close()

    app = FastAPI(
        title="Oneiro",
        version=__version__,
        summary="Tell a dream to Carl or Lakshmi, and talk it through.",
        lifespan=lifespan,
        docs_url=None,  # Their pages load scripts from elsewhere.
        redoc_url=None,
        responses={"4XX": {"model": http.Problem}, "5XX": {"model": http.Problem}},
    )
    agents = Agents(database, platform, settings=settings, clock=clock)
    app.state.tokens = Tokens(keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer)
    app.state.database = database
    app.state.dreamers = Dreamers(database, languages=settings.languages, clock=clock)
    app.state.dreams = Dreams(database)
    app.state.cards = Cards(database, clock=clock)
    publishing = Publishing(database, agents, languages=settings.languages, models=settings.models, clock=clock)
    app.state.publishing = publishing
    app.state.experiments = Experiments(database, publishing, languages=settings.languages, clock=clock)
    app.state.platform_overview = PlatformOverview(database, breakers, slots=settings.max_concurrent_calls, clock=clock)
    app.state.starts = Starts(database, platform, agents, settings=settings, simulated=around.simulated, clock=clock)
    app.state.resumes = Resumes(database, platform, agents, settings=settings, simulated=around.simulated, clock=clock)
    app.state.ingest = Ingest(database, settings=settings, clock=clock)
    app.state.conversations = Conversations(database, settings=settings, clock=clock)
    relayed = Relayed(database, settings=settings, owner=uuid4().hex, clock=clock)
    app.state.relay = Relay(relayed, platform, agents, clock=clock)
    app.state.sweeper = Sweeper(database, settings=settings, clock=clock)
    _install(app, settings)
    if around.local:
        app.include_router(_local_session(settings, clock), prefix="/v1")
    return app


def _install(app: FastAPI, settings: Settings) -> None:
    http.install_problems(app)
    app.add_middleware(http.BoundedBody, larger={"/v1/admin/interpreters": MAX_RELEASE_BODY})
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID"],
            max_age=600,
        )
    app.add_middleware(http.Faults)
    for router in ROUTERS:
        app.include_router(router, prefix="/v1")
    app.include_router(_health)


def _keys(settings: Settings) -> SharedSecret | KeySet:
    if settings.jwks_url:
        return KeySet(settings.jwks_url)
    if settings.jwt_secret is None:
        raise SetupError("set ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL, so that tokens can be checked")
    return SharedSecret(settings.jwt_secret.get_secret_value())


_health = APIRouter(tags=["health"])


@_health.get("/healthz")
async def healthz() -> dict[str, str]:
    """Whether the process answers."""
    return {"status": "ok", "version": __version__}


@_health.get("/readyz", responses={503: {"description": "The database cannot be reached."}})
async def readyz(request: Request, response: Response) -> dict[str, bool]:
    """Whether the process can serve: it reaches its database."""
    ready = await reachable(request.app.state.database)
    response.status_code = status.HTTP_200_OK if ready else status.HTTP_503_SERVICE_UNAVAILABLE
    return {"ready": ready, "database": ready}


class LocalSession(BaseModel):
    """A token for the person at this machine."""

    token: str
    user_id: UUID
    expires_at: datetime


def local_dreamer() -> UUID:
    """The dreamer of embedded mode: always the same one, so that her journal is there tomorrow."""
    return uuid5(NAMESPACE_URL, "urn:oneiro:local-dreamer")


def _local_session(settings: Settings, clock: Callable[[], datetime]) -> APIRouter:
    router = APIRouter(tags=["local"])

    @router.post("/dev/session")
    async def session(request: Request) -> LocalSession:
        """Sign in the person at this machine; only embedded mode has this, and only for loopback."""
        # The Host header is checked too: a foreign page that points its own name at 127.0.0.1 gets nothing.
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname
        if not (_is_loopback(request.client and request.client.host) and _is_loopback(host)):
            raise NotFound("There is no such page.")
        assert settings.jwt_secret is not None
        user_id, now = local_dreamer(), clock()
        token = issue_token(settings.jwt_secret.get_secret_value(), user_id=user_id, ttl=SESSION_TTL, now=now)
        return LocalSession(token=token, user_id=user_id, expires_at=now + SESSION_TTL)

    return router


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False
