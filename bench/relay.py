"""The relay under live calls: CPU per relayed frame, latency it adds to a direct socket, memory per call.

`.venv/bin/python bench/relay.py [--calls 50,100] [--tls] [--plain] [--seconds 8] [--quick] [--gate MICROSECONDS]`

The relay is the whole API in a process of its own, with PostgreSQL; this process holds the clients and the platform's
sockets, so that both ends read one clock. A call sends a microphone frame of 1,391 bytes every 32 ms, gets four
frames of 10.7 KB a second of speech during half of its time, and a transcript line every 2.5 s, which is written.
CPU is the kernel's count over all threads of the relay (/proc/<pid>/task/*/schedstat) by frames relayed. Latency is
that of microphone frames, and includes this process's own lateness; the direct row says how much that is. Where nginx
is installed it passes on the same frames, one worker, without looking at them: what a proxy costs at the least.
Memory per call is what the process has grown since before its first call, so the numbers of calls should go up.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import os
import platform
import random
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
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import uvloop
import websockets
from psycopg import sql
from pydantic import SecretStr
from servers import cpu_seconds, free_port
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

from oneiro.app import Surroundings, create_app
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
UP_BYTES, DOWN_BYTES, EVERY = 1391, 10_700, 0.032
PADDING_UP = "A" * (UP_BYTES - len('{"user_audio_chunk":""}') - 32)
PADDING_DOWN = "A" * (DOWN_BYTES - 120)


class Elsewhere:
    """Where the relay is led: the platform's sockets of this bench."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def signed_url(self, agent_id: str) -> SignedUrl:
        return SignedUrl(self._url, dt.datetime.now(dt.UTC) + dt.timedelta(minutes=15))


class PlainClient(ClientConnection):
    side = None


async def relay(database_url: str, engine_url: str, upstream: str, way: str) -> None:
    """The process under test."""
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
    app = create_app(settings, Surroundings(simulated=True))
    app.state.relay._platform = Elsewhere(upstream)  # noqa: SLF001 - the bench plays the platform's sockets.
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with listening(app, bind("127.0.0.1", 0, what="bench")) as served:
        print(served.url, flush=True)
        await stop.wait()


class Platform:
    """The far end: takes sound, notes how late it is, and speaks."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.counting = False
        self.up = self.down = 0
        self.lines = True

    async def play(self, socket: ServerConnection) -> None:
        event = {
            "conversation_id": f"conv_{uuid4().hex}",
            "agent_output_audio_format": "pcm_16000",
            "user_input_audio_format": "pcm_16000",
        }
        first = {"type": "conversation_initiation_metadata", "conversation_initiation_metadata_event": event}
        await socket.send(json.dumps(first))
        speaking = asyncio.create_task(self._speak(socket))
        with contextlib.suppress(websockets.ConnectionClosed):
            async for raw in socket:
                if self.counting and raw.startswith('{"user_audio_chunk"'):
                    self.up += 1
                    self.late.append(time.perf_counter() - float(raw[21:53]))
        speaking.cancel()

    async def _speak(self, socket: ServerConnection) -> None:
        await asyncio.sleep(random.random() * 8)
        event = {"type": "audio", "audio_event": {"audio_base_64": PADDING_DOWN, "event_id": 1}}
        raw, beats = json.dumps(event), 0
        while True:
            beats += 1
            if beats % 32 < 16:
                await socket.send(raw)
                self.down += self.counting
            if beats % 10 == 0 and self.lines:
                said = {"agent_response": "A short answer of the interpreter.", "event_id": beats}
                await socket.send(json.dumps({"type": "agent_response", "agent_response_event": said}))
                self.down += self.counting
            await asyncio.sleep(0.25)


async def caller(url: str, stop: asyncio.Event) -> None:
    async with connect(url, subprotocols=["convai"], compression=None, proxy=None, ssl=_trusting(url)) as socket:
        await socket.send(json.dumps({"type": "conversation_initiation_client_data"}))
        await socket.recv()
        reading = asyncio.create_task(_read(socket))
        due = time.perf_counter() + random.random() * EVERY
        while not stop.is_set():
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await socket.send(f'{{"user_audio_chunk":"{time.perf_counter():032.9f}{PADDING_UP}"}}')
            due += EVERY
        reading.cancel()


async def _read(socket: Any) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        async for _ in socket:
            pass


def _trusting(url: str) -> ssl.SSLContext | None:
    return ssl.create_default_context() if url.startswith("wss") else None


def resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * resource.getpagesize() // 1024


def certificate(folder: Path) -> ssl.SSLContext:
    """A context for the platform's side, of a certificate that this process and the relay trust."""
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
    os.environ["SSL_CERT_FILE"] = str(folder / "cert.pem")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return context


def quantile(values: list[float], share: float) -> float:
    return 1000 * sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else 0.0


async def addresses(api: str, calls: int) -> list[str]:
    found = []
    async with httpx.AsyncClient(base_url=f"{api}/v1", trust_env=False, timeout=30) as client:
        for _ in range(calls):
            token = issue_token(SECRET, user_id=uuid4(), ttl=dt.timedelta(hours=1), now=dt.datetime.now(dt.UTC))
            headers = {"Authorization": f"Bearer {token}"}
            await client.patch("/me", json={"consents": {"voice": True}}, headers=headers)
            answer = await client.post("/conversations", json={"interpreter_id": "carl"}, headers=headers)
            found.append(answer.raise_for_status().json()["signed_url"])
    return found


async def idle(pid: int, seconds: float) -> float:
    """The share of a core that a process takes when nobody calls."""
    used = cpu_seconds(pid)
    await asyncio.sleep(seconds)
    return (cpu_seconds(pid) - used) / seconds


@dataclass
class Way:
    """A way from the callers to the platform, and the process on it, if there is one."""

    name: str
    pid: int | None = None

    def __post_init__(self) -> None:
        self.resident = resident(self.pid) if self.pid else 0


async def call(urls: list[str], seconds: float) -> None:
    """Calls that are not measured: what a process makes once, it has made then."""
    stop = asyncio.Event()
    callers = [asyncio.create_task(caller(url, stop)) for url in urls]
    await asyncio.sleep(seconds)
    stop.set()
    await asyncio.gather(*callers, return_exceptions=True)


async def measure(way: Way, urls: list[str], far: Platform, seconds: float) -> tuple[float, float]:
    """Print a row; gives microseconds of CPU a frame, and the latency's p50 in milliseconds."""
    pid, stop = way.pid, asyncio.Event()
    callers = [asyncio.create_task(caller(url, stop)) for url in urls]
    await asyncio.sleep(3)
    far.late, far.up, far.down, far.counting = [], 0, 0, True
    used, began = cpu_seconds(pid) if pid else 0.0, time.perf_counter()
    await asyncio.sleep(seconds)
    far.counting = False
    spent, lasted = (cpu_seconds(pid) if pid else 0.0) - used, time.perf_counter() - began
    grown = (resident(pid) - way.resident) / len(urls) if pid else 0.0
    stop.set()
    results = await asyncio.gather(*callers, return_exceptions=True)
    broken = sum(isinstance(result, BaseException) for result in results)
    frames = far.up + far.down
    cost = 1e6 * spent / frames if frames else 0.0
    p50, p99 = quantile(far.late, 0.5), quantile(far.late, 0.99)
    print(
        f"{way.name:<8}{len(urls):>6}{frames / lasted:>10.0f}{100 * spent / lasted:>8.1f}{cost:>9.1f}"
        f"{p50:>9.2f}{p99:>9.2f}{grown:>9.0f}{broken:>8}"
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
    """An nginx before the platform, where there is one, and its address."""
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
        yield Way("nginx", process.pid), f"ws://127.0.0.1:{port}/"
    finally:
        process.terminate()
        await process.wait()


async def main(arguments: argparse.Namespace) -> int:
    folder = Path(tempfile.mkdtemp(prefix="oneiro-bench-"))
    folder.chmod(0o711)  # noqa: ASYNC240 - before anything is measured.
    far = Platform()
    far.lines = not arguments.no_lines
    context = certificate(folder) if arguments.tls else None
    way = "plain" if arguments.plain else "spliced"
    scheme = "wss" if arguments.tls else "ws"
    try:
        async with (
            embedded(folder / "postgres") as server,
            running(EngineSettings()) as engine_url,
            serve(far.play, "localhost", 0, family=2, ssl=context, compression=None, max_size=2**20) as listener,
        ):
            with psycopg.connect(server.admin_url, autocommit=True) as conn:
                conn.execute(sql.SQL("CREATE DATABASE bench"))
            await asyncio.to_thread(migrate, server.url("bench"))
            database = Database(server.url("bench", "oneiro_service"))
            await database.open()
            async with database.as_service() as conn:
                await load_seeds(conn)
            await database.close()
            upstream = f"{scheme}://localhost:{listener.sockets[0].getsockname()[1]}/"
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                __file__,
                "--relay",
                server.url("bench", "oneiro_service"),
                engine_url,
                upstream,
                way,
                stdout=asyncio.subprocess.PIPE,
            )
            assert process.stdout is not None
            api = (await process.stdout.readline()).decode().strip()
            print(
                f"Python {platform.python_version()}, websockets {websockets.__version__}, {os.cpu_count()} cores,"
                f" load {os.getloadavg()[0]:.1f}, {scheme} to the platform, {way}"
            )
            heads = ("", "calls", "frames/s", "% core", "us/frame", "p50 ms", "p99 ms", "KB/call", "broken")
            print(
                f"{heads[0]:<8}{heads[1]:>6}{heads[2]:>10}{heads[3]:>8}" + "".join(f"{h:>9}" for h in heads[4:8]),
                heads[8],
            )
            async with proxy(folder, upstream) as proxied:
                await call(await addresses(api, 5), 2)
                alone = 100 * await idle(process.pid, 3)
                print(f"{alone:.1f} % of a core without calls: the rest of the API, and its worker")
                ours, worst, added = Way("relay", process.pid), 0.0, 0.0
                for calls in arguments.calls:
                    _, least = await measure(Way("direct"), [upstream] * calls, far, arguments.seconds)
                    if proxied:
                        beside, _ = await measure(proxied[0], [proxied[1]] * calls, far, arguments.seconds)
                    worst, p50 = await measure(ours, await addresses(api, calls), far, arguments.seconds)
                    added = p50 - least
            print(
                f"added by the relay at the last: p50 {added:.2f} ms"
                + (f"; CPU a frame, relay / nginx: {worst / beside:.1f}" if proxied else "")
            )
            print(f"load after: {os.getloadavg()[0]:.1f}")
            process.terminate()
            await process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.gate and worst > arguments.gate:
        print(f"gate: {worst:.1f} us/frame is over {arguments.gate}")
        return 1
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--relay"]:
        uvloop.run(relay(*sys.argv[2:6]))
        sys.exit(0)
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=lambda text: [int(part) for part in text.split(",")], default=[25, 50, 100])
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--tls", action="store_true", help="TLS to the platform, as in production")
    parser.add_argument("--plain", action="store_true", help="through the libraries alone, without the splice")
    parser.add_argument("--no-lines", action="store_true", help="no transcript, so that nothing is written")
    parser.add_argument("--gate", type=float, help="most microseconds of CPU a frame at the last number of calls")
    parser.add_argument("--quick", action="store_true", help="25 calls for 4 s, for a machine that others use")
    options = parser.parse_args()
    if options.quick:
        options.calls, options.seconds = [25], 4.0
    sys.exit(uvloop.run(main(options)))
