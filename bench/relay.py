"""The relay under live calls: CPU per relayed frame, latency it adds to a direct socket, memory per call.

`.venv/bin/python bench/relay.py [--calls 100,200,400] [--tls] [--together] [--plain] [--seconds 8] [--gate MICROS]`

The relay is a process like `oneiro serve --relay`, on a core of its own where there are two. This process holds the
clients and the platform's sockets (`bench/callers.py`) and shares the other cores with PostgreSQL and an API with its
worker; `--together` puts these two into the relay's process, as plain `oneiro serve` does. A call sends a
microphone frame of 1,391 bytes every 32 ms, gets four frames of 10.7 KB a second of speech during half of its time, and
a transcript line every 2.5 s, which is written. CPU is the kernel's count over all threads of the relay
(/proc/<pid>/task/*/schedstat) by frames relayed; `wait` is the time in which it could have run and others had its core.
Latency is that of microphone frames. `late` is how late this process was with its own frames, at the p99: with more
than a few milliseconds, or a `wait` of more than a few per cent, believe no latency. Where nginx is installed it passes
on the same frames, one worker, without looking at them: what a proxy costs at the least. Memory per call is what the
process has grown since before its first call, so the numbers of calls should go up.
"""

import argparse
import asyncio
import datetime as dt
import gc
import os
import platform
import resource
import shutil
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import certifi
import httpx
import psycopg
import uvloop
import websockets
from callers import Traffic, quantile
from psycopg import sql
from pydantic import SecretStr
from servers import free_port
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection

from oneiro.app import CALLS, ROUTERS, Surroundings, create_app
from oneiro.auth import issue_token
from oneiro.cli import listen
from oneiro.cli.listen import bind, listening
from oneiro.database.embedded import embedded
from oneiro.database.migrate import migrate
from oneiro.database.pool import Database
from oneiro.engine.app import running
from oneiro.engine.settings import EngineSettings
from oneiro.interpreters.seed import load_seeds
from oneiro.platform.port import SignedUrl
from oneiro.relay import legs
from oneiro.settings import Settings

SECRET = "a secret of at least thirty-two bytes"
SETTLING = 3.0
CORES = [
    int(core) for core in os.environ.setdefault("BENCH_CORES", " ".join(map(str, os.sched_getaffinity(0)))).split()
]
"""Those of the bench, which its processes share out among them."""


class Elsewhere:
    """Where the relay is led: the platform's sockets of this bench."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def signed_url(self, agent_id: str) -> SignedUrl:
        return SignedUrl(self._url, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=15))


class PlainClient(ClientConnection):
    side = None


async def serve(part: str, database_url: str, engine_url: str, upstream: str, way: str) -> None:
    """A process of ours: the relay under test, the API with its worker, or the two together."""
    if part != "api":
        os.sched_setaffinity(0, {CORES[0]})
    if way == "plain":
        listen.SplicedServer = WebSocketsSansIOProtocol  # type: ignore[misc,assignment]
        legs.SplicedClient = PlainClient  # type: ignore[misc,assignment]
    settings = Settings(
        database_url=SecretStr(database_url),
        jwt_secret=SecretStr(SECRET),
        elevenlabs_api_key=SecretStr("key"),
        elevenlabs_base_url=engine_url,
        transport="relay",
        max_concurrent_calls=10_000,
    )
    routers = CALLS if part == "relay" else ROUTERS
    app = create_app(settings, Surroundings(simulated=True), worker=part != "relay", routers=routers)
    app.state.relay._platform = Elsewhere(upstream)  # noqa: SLF001 - the bench plays the platform's sockets.
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with listening(app, bind("127.0.0.1", 0, what="bench")) as served:
        print(served.url, flush=True)
        os.dup2(2, 1)  # Nobody reads on from here, and log lines would fill the pipe.
        await stop.wait()


def certificate(folder: Path) -> ssl.SSLContext:
    """A context for the platform's side, of a certificate trusted here beside all those that the world trusts."""
    from cryptography import x509  # noqa: PLC0415 - only with --tls.
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - the same.
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - the same.

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    )
    pem = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "cert.pem").write_bytes(pem)
    (folder / "key.pem").write_bytes(secret)
    (folder / "trusted.pem").write_bytes(Path(certifi.where()).read_bytes() + pem)
    os.environ["SSL_CERT_FILE"] = str(folder / "trusted.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


async def addresses(api: str, relay: str, calls: int) -> list[str]:
    """Conversations, each of another dreamer, ready to be called."""
    turns = asyncio.Semaphore(8)
    async with httpx.AsyncClient(base_url=f"{api}/v1", trust_env=False, timeout=60) as client:

        async def one() -> str:
            token = issue_token(SECRET, user_id=uuid4(), ttl=dt.timedelta(hours=1), now=dt.datetime.now(dt.UTC))
            headers = {"Authorization": f"Bearer {token}"}
            async with turns:
                await client.patch("/me", json={"consents": {"voice": True}}, headers=headers)
                answer = await client.post("/conversations", json={"interpreter_id": "carl"}, headers=headers)
            url = urlsplit(answer.raise_for_status().json()["signed_url"])
            return url._replace(netloc=urlsplit(relay).netloc).geturl()

        return await asyncio.gather(*(one() for _ in range(calls)))


@dataclass(frozen=True)
class Usage:
    """What the kernel has counted of a process, in seconds; nothing of no process."""

    at: float
    ran: float = 0.0
    waited: float = 0.0

    @classmethod
    def of(cls, pid: int | None) -> "Usage":
        if pid is None:
            return cls(time.perf_counter())
        counts = [(task / "schedstat").read_text().split() for task in Path(f"/proc/{pid}/task").iterdir()]
        ran, waited = (sum(int(count[which]) for count in counts) / 1e9 for which in (0, 1))
        return cls(time.perf_counter(), ran, waited)

    def since(self, before: "Usage") -> "Usage":
        return Usage(self.at - before.at, self.ran - before.ran, self.waited - before.waited)

    def share(self, seconds: float) -> float:
        return 100 * seconds / self.at


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


@dataclass
class Way:
    """A way from the callers to the platform, and the process on it, if there is one."""

    name: str
    pid: int | None = None

    def __post_init__(self) -> None:
        self.resident = resident(self.pid) if self.pid else 0


HEADS = f"{'':<8}{'calls':>6}{'frames/s':>10}{'% core':>8}{'us/frame':>10}{'wait %':>8}{'p50 ms':>9}{'p99 ms':>9}"
HEADS += f"{'KB/call':>9}{'broken':>8}  | callers: {'% core':>6}{'late ms':>9}"


async def measure(way: Way, urls: list[str], traffic: Traffic, seconds: float) -> tuple[float, float]:
    """Print a row; gives microseconds of CPU a frame, and the latency's p50 in milliseconds."""
    calls = await traffic.open(urls)
    await asyncio.sleep(SETTLING)
    gc.collect()
    traffic.start()
    before, own_before = Usage.of(way.pid), Usage.of(os.getpid())
    await asyncio.sleep(seconds)
    used, own = Usage.of(way.pid).since(before), Usage.of(os.getpid()).since(own_before)
    frames, late = traffic.tally.up + traffic.tally.down, quantile(traffic.late, 0.99)
    p50, p99 = (quantile(traffic.tally.latencies, share) for share in (0.5, 0.99))
    grown = (resident(way.pid) - way.resident) / len(urls) if way.pid else 0.0
    broken = calls.broken
    await calls.close()
    cost = 1e6 * used.ran / frames if frames else 0.0
    print(
        f"{way.name:<8}{len(urls):>6}{frames / used.at:>10.0f}{used.share(used.ran):>8.1f}{cost:>10.1f}"
        f"{used.share(used.waited):>8.1f}{p50:>9.2f}{p99:>9.2f}{grown:>9.0f}{broken:>8}"
        f"  |          {own.share(own.ran):>6.0f}{late:>9.2f}",
        flush=True,
    )
    return cost, p50


NGINX = """daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log;
events {{ worker_connections 4096; }}
http {{
    access_log off; client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass {upstream}; proxy_http_version 1.1; proxy_ssl_server_name on; proxy_read_timeout 1h;
            proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;
        }}
    }}
}}
"""


@asynccontextmanager
async def proxy(folder: Path, upstream: str) -> AsyncIterator[tuple[Way, str] | None]:
    """An nginx before the platform on the relay's core, where there is one, and its address."""
    program = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        print("nginx is not installed here: no row of it")
        yield None
        return
    port, settings = free_port(), folder / "nginx.conf"
    to = upstream.replace("ws", "http", 1)
    settings.write_text(NGINX.format(folder=folder, port=port, upstream=to))
    process = await asyncio.create_subprocess_exec(
        program, "-c", str(settings), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        await asyncio.sleep(1)
        assert process.returncode is None, (folder / "nginx.log").read_text()
        os.sched_setaffinity(process.pid, {CORES[0]})
        yield Way("nginx", process.pid), f"ws://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


@asynccontextmanager
async def process(part: str, *addresses: str) -> AsyncIterator[tuple[int, str]]:
    """A process of `serve`: its id and its address."""
    started = await asyncio.create_subprocess_exec(
        sys.executable, __file__, "--serve", part, *addresses, stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    try:
        yield started.pid, (await started.stdout.readline()).decode().strip()
    finally:
        started.terminate()
        await started.wait()


@dataclass(frozen=True)
class Stage:
    """What is measured: the relay's process and address, and where conversations start."""

    pid: int
    relay: str
    api: str


@asynccontextmanager
async def staged(folder: Path, upstream: str, way: str, *, together: bool) -> AsyncIterator[Stage]:
    """The processes of a bench, on an empty database."""
    async with embedded(folder / "postgres") as server, running(EngineSettings()) as engine_url:
        with psycopg.connect(server.admin_url, autocommit=True) as conn:
            conn.execute(sql.SQL("CREATE DATABASE bench"))
        await asyncio.to_thread(migrate, server.url("bench"))
        database_url = server.url("bench", "oneiro_service")
        database = Database(database_url)
        await database.open()
        async with database.as_service() as conn:
            await load_seeds(conn)
        await database.close()
        settings = database_url, engine_url, upstream, way
        if together:
            async with process("both", *settings) as (pid, api):
                yield Stage(pid, api, api)
        else:
            async with process("api", *settings) as (_, api), process("relay", *settings) as (pid, relay):
                yield Stage(pid, relay, api)


async def rows(arguments: argparse.Namespace, traffic: Traffic, stage: Stage, folder: Path) -> float:
    """Print a row for each way and number of calls; gives the relay's microseconds a frame at the last."""
    print(HEADS)
    async with proxy(folder, traffic.url) as proxied:
        await (await traffic.open(await addresses(stage.api, stage.relay, 16))).close()
        # Starting conversations also takes memory, which is not the calls'.
        urls = [await addresses(stage.api, stage.relay, calls) for calls in arguments.calls]
        before = Usage.of(stage.pid)
        await asyncio.sleep(SETTLING)
        rest = Usage.of(stage.pid).since(before)
        print(f"{rest.share(rest.ran):.1f} % of a core without calls")
        ours, cost, added, beside = Way("relay", stage.pid), 0.0, 0.0, 0.0
        for ready in urls:
            _, least = await measure(Way("direct"), [traffic.url] * len(ready), traffic, arguments.seconds)
            if proxied:
                beside, _ = await measure(proxied[0], [proxied[1]] * len(ready), traffic, arguments.seconds)
            cost, p50 = await measure(ours, ready, traffic, arguments.seconds)
            added = p50 - least
    ratio = f"; CPU a frame, relay / nginx: {cost / beside:.1f}" if beside else ""
    print(f"added by the relay at the last: p50 {added:.2f} ms{ratio}")
    return cost


async def main(arguments: argparse.Namespace) -> int:
    """Everything but the relay runs beside it on the other cores, PostgreSQL too."""
    if len(CORES) > 1:
        os.sched_setaffinity(0, CORES[1:])
    gc.disable()  # The callers' lateness is what limits this bench; `measure` collects between rows.
    folder = Path(tempfile.mkdtemp(prefix="oneiro-bench-"))
    folder.chmod(0o711)  # noqa: ASYNC240 - before anything is measured.
    context = certificate(folder) if arguments.tls else None
    way = "plain" if arguments.plain else "spliced"
    try:
        async with (
            Traffic(lines=not arguments.no_lines, tls=context) as traffic,
            staged(folder, traffic.url, way, together=arguments.together) as stage,
        ):
            print(
                f"Python {platform.python_version()}, websockets {websockets.__version__}, {ssl.OPENSSL_VERSION},"
                f" {len(CORES)} cores, {'TLS' if context else 'no TLS'} to the platform, {way}"
            )
            print(f"load {os.getloadavg()[0]:.1f}; relay on core {CORES[0]}, all else on the others")
            cost = await rows(arguments, traffic, stage, folder)
            print(f"load after: {os.getloadavg()[0]:.1f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.gate and cost > arguments.gate:
        print(f"gate: {cost:.1f} us/frame is over {arguments.gate}")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        uvloop.run(serve(*sys.argv[2:7]))
        sys.exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=lambda text: [int(part) for part in text.split(",")], default=[100, 200, 400])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--tls", action="store_true", help="TLS to the platform, as in production")
    parser.add_argument("--plain", action="store_true", help="through the libraries alone, without the splice")
    parser.add_argument("--together", action="store_true", help="the API and its worker in the relay's process")
    parser.add_argument("--no-lines", action="store_true", help="no transcript, so that nothing is written")
    parser.add_argument("--gate", type=float, help="most microseconds of CPU a frame at the last number of calls")
    parser.add_argument("--quick", action="store_true", help="25 calls for 4 s, for a machine that others use")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.seconds = [25], 4.0
    sys.exit(uvloop.run(main(options)))
