"""Every part of a process, made once from the settings; the app and the worker are put together from these."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

from pydantic import SecretStr

from oneiro import tracing
from oneiro.analytics.insights.service import DreamerInsights
from oneiro.analytics.reports.service import Reports
from oneiro.analytics.rollups.service import Rollups
from oneiro.auth import KeySet, SharedSecret, Tokens, is_key_set_fault
from oneiro.breaker import CircuitBreaker, State
from oneiro.conversations.address import Addresses
from oneiro.conversations.flags.service import SafetyQueue
from oneiro.conversations.ingest.service import Ingest
from oneiro.conversations.operating.service import ConversationsForOperators
from oneiro.conversations.reconcile.service import Reconciler
from oneiro.conversations.relayed.service import Relayed
from oneiro.conversations.resume import Resumes
from oneiro.conversations.service import Conversations
from oneiro.conversations.start import Starts
from oneiro.conversations.sweep.service import Sweeper
from oneiro.conversations.wiring import Wiring
from oneiro.database.pool import Database
from oneiro.dreamers.service import Dreamers
from oneiro.dreams.service import Dreams
from oneiro.errors import SetupError
from oneiro.events.bell import Bell
from oneiro.events.breakers import BreakerEvents
from oneiro.events.service import Events
from oneiro.events.stream import Streams
from oneiro.events.tail import Tail
from oneiro.interpreters.agents.inspection import Inspection
from oneiro.interpreters.agents.service import Agents
from oneiro.interpreters.agents.stand_in import EngineAddress, StandIn
from oneiro.interpreters.agents.stock import StockTaking
from oneiro.interpreters.cards import Cards
from oneiro.interpreters.experiments.service import Experiments
from oneiro.interpreters.overview.service import PlatformOverview
from oneiro.interpreters.publishing.service import Publishing
from oneiro.jobs.service import Jobs
from oneiro.metrics import Metrics
from oneiro.monitoring.service import Monitoring
from oneiro.platform.elevenlabs import ElevenLabsPlatform
from oneiro.privacy.erasure.service import Erasure
from oneiro.privacy.export.service import Exports
from oneiro.privacy.operators.service import DreamersForOperators
from oneiro.relay.service import Figures, Relay
from oneiro.settings import Settings
from oneiro.webhooks.delivery.guard import connections
from oneiro.webhooks.delivery.service import Deliverer
from oneiro.webhooks.endpoints.service import Webhooks
from oneiro.webhooks.inbox.service import Inbox

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a command knows beyond the settings.

    `simulated`: the platform is an engine, and everything says so. `local`: embedded mode, where `POST
    /v1/dev/session` signs a person on this machine in without a password. `stand_in`: an engine of this process with
    a language model behind it, for when the platform is away. `llm`: the breaker of that model.
    """

    simulated: bool = False
    local: bool = False
    stand_in: EngineAddress | None = None
    llm: CircuitBreaker | None = None


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a process; routes and jobs find theirs here by name.

    `consumers`: names of the durable consumers, whichever process runs them.
    """

    settings: Settings
    surroundings: Surroundings
    clock: Clock
    database: Database
    bell: Bell
    tail: Tail
    keys: SharedSecret | KeySet
    tokens: Tokens
    breakers: tuple[CircuitBreaker, ...]
    breaker_events: BreakerEvents
    platform: ElevenLabsPlatform
    dreamers: Dreamers
    dreams: Dreams
    cards: Cards
    agents: Agents
    inspection: Inspection
    stock_taking: StockTaking
    publishing: Publishing
    experiments: Experiments
    platform_overview: PlatformOverview
    starts: Starts
    resumes: Resumes
    ingest: Ingest
    conversations: Conversations
    conversations_for_operators: ConversationsForOperators
    safety_queue: SafetyQueue
    sweeper: Sweeper
    relay: Relay
    stand_in: StandIn | None
    events: Events
    streams: Streams
    jobs: Jobs
    metrics: Metrics
    monitoring: Monitoring
    webhooks: Webhooks
    deliverer: Deliverer
    inbox: Inbox
    reconciler: Reconciler
    exports: Exports
    erasure: Erasure
    dreamers_for_operators: DreamersForOperators
    rollups: Rollups
    reports: Reports
    insights: DreamerInsights
    consumers: tuple[str, ...]

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Open the connections of the parts, and close them at the end."""
        await self.database.open()
        try:
            yield
        finally:
            await self.deliverer.close()
            await self.platform.close()
            if self.stand_in:
                await self.stand_in.close()
            if isinstance(self.keys, KeySet):
                await self.keys.close()
            await self.database.close()


def make_parts(
    settings: Settings,
    surroundings: Surroundings | None = None,
    *,
    consumers: tuple[str, ...] = (),
    clock: Clock = utc_now,
) -> Parts:
    """The parts of a process; raises `SetupError` when a setting they cannot do without is missing."""
    around = surroundings or Surroundings()
    if settings.database_url is None or settings.elevenlabs_api_key is None:
        raise SetupError("set ONEIRO_DATABASE_URL and ELEVENLABS_API_KEY (or try Oneiro with: oneiro up)")
    tracing.start(settings.otel_exporter_otlp_endpoint)
    url = settings.database_url.get_secret_value()
    bell = Bell(url)
    db = Database(url, committed=bell.committed)
    tail = Tail(db, bell)
    metrics = Metrics()
    told = BreakerEvents(db)

    def report(name: str, state: State) -> None:
        metrics.breaker(name, state)
        told.tell(name, state)

    sign_in = CircuitBreaker("jwks", report=report, is_fault=is_key_set_fault)
    keys = _keys(settings, sign_in)
    calls, provisioning, sockets = (
        CircuitBreaker(name, report=report) for name in ("conversations", "agents", "sockets")
    )
    breakers: tuple[CircuitBreaker, ...] = (calls, provisioning, sockets)
    if isinstance(keys, KeySet):
        breakers = (*breakers, sign_in)
    if around.llm is not None:
        around.llm.report = report
        breakers = (*breakers, around.llm)
    for breaker in breakers:
        metrics.breaker(breaker.name, breaker.state)
    platform = ElevenLabsPlatform(
        settings.elevenlabs_api_key.get_secret_value(),
        base_url=settings.elevenlabs_base_url,
        conversations=calls,
        provisioning=provisioning,
        clock=clock,
        observe=metrics.platform_call,
    )

    def rest() -> float:
        return max(calls.rest(), sockets.rest())

    agents = Agents(db, platform, settings=settings, clock=clock, created=metrics.agent_created)
    conversations = Conversations(db, settings=settings, clock=clock)
    publishing = Publishing(db, agents, languages=settings.languages, models=settings.models, clock=clock)
    stand_in = _stand_in(around.stand_in, settings, clock) if around.stand_in else None
    addresses = Addresses(agents, platform, settings=settings, clock=clock, stand_in=stand_in, rest=rest)
    wiring = Wiring(db, addresses, settings, around.simulated, clock, begun=metrics.start)
    overview = PlatformOverview(db, breakers, slots=settings.max_concurrent_calls, clock=clock)
    events = Events(db)
    return Parts(
        settings=settings,
        surroundings=around,
        clock=clock,
        database=db,
        bell=bell,
        tail=tail,
        keys=keys,
        tokens=Tokens(keys, audience=settings.jwt_audience, issuer=settings.jwt_issuer),
        breakers=breakers,
        breaker_events=told,
        platform=platform,
        dreamers=Dreamers(db, languages=settings.languages, clock=clock),
        dreams=Dreams(db),
        cards=Cards(db, clock=clock),
        agents=agents,
        inspection=Inspection(db, platform, agents, clock=clock),
        stock_taking=StockTaking(db, platform, clock=clock),
        publishing=publishing,
        experiments=Experiments(db, publishing, languages=settings.languages, clock=clock),
        platform_overview=overview,
        starts=Starts(wiring),
        resumes=Resumes(wiring),
        ingest=Ingest(db, settings=settings, clock=clock, kept=metrics.messages, flagged=metrics.safety),
        conversations=conversations,
        conversations_for_operators=ConversationsForOperators(db, conversations),
        safety_queue=SafetyQueue(db, clock=clock),
        sweeper=Sweeper(db, settings=settings, clock=clock),
        relay=Relay(
            Relayed(
                db,
                settings=settings,
                owner=uuid4().hex,
                clock=clock,
                kept=metrics.messages,
                flagged=metrics.safety,
            ),
            platform,
            agents,
            clock=clock,
            breaker=sockets,
            stand_in=stand_in,
            tail=tail,
            figures=Figures(turn=metrics.turn, frames=metrics.frames),
        ),
        stand_in=stand_in,
        events=events,
        streams=Streams(db, tail, clock=clock),
        jobs=Jobs(db),
        metrics=metrics,
        monitoring=Monitoring(db, metrics, slots=settings.max_concurrent_calls, clock=clock),
        webhooks=Webhooks(db, allow_private=settings.webhooks_allow_private, clock=clock),
        deliverer=_deliverer(db, bell, settings, clock),
        inbox=Inbox(db, secret=_revealed(settings.elevenlabs_webhook_secret), clock=clock),
        reconciler=Reconciler(db, platform, clock=clock),
        exports=Exports(db, clock=clock),
        erasure=Erasure(db, conversations, platform, settings=settings, clock=clock),
        dreamers_for_operators=DreamersForOperators(db),
        rollups=Rollups(db),
        reports=Reports(db, overview, events, slots=settings.max_concurrent_calls, clock=clock),
        insights=DreamerInsights(db),
        consumers=consumers,
    )


def _deliverer(db: Database, bell: Bell, settings: Settings, clock: Clock) -> Deliverer:
    source = settings.public_url or f"http://{settings.host}:{settings.port}"
    pool = connections(allow_private=settings.webhooks_allow_private)
    return Deliverer(db, bell, pool, source=source, clock=clock)


def _stand_in(at: EngineAddress, settings: Settings, clock: Clock) -> StandIn:
    # It runs in this process: its breakers are there because the adapter has some, and nobody watches them.
    calls, agents = CircuitBreaker("stand-in"), CircuitBreaker("stand-in agents")
    engine = ElevenLabsPlatform(at.key, base_url=at.url, conversations=calls, provisioning=agents, clock=clock)
    return StandIn(engine, settings=settings)


def _revealed(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _keys(settings: Settings, breaker: CircuitBreaker) -> SharedSecret | KeySet:
    if settings.jwks_url:
        return KeySet(settings.jwks_url, guard=breaker.call)
    if settings.jwt_secret is None:
        raise SetupError("set ONEIRO_JWT_SECRET or ONEIRO_JWKS_URL, so that tokens can be checked")
    return SharedSecret(settings.jwt_secret.get_secret_value())
