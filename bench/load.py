"""A small load generator over kept connections to loopback: as fast as answers come, or at a fixed rate."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

HEAD = (
    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


def request(path: str, body: bytes, token: str | None = None) -> bytes:
    headers = f"Authorization: Bearer {token}\r\n" if token else ""
    return HEAD.format(path=path, headers=headers, length=len(body)).encode() + body


@dataclass
class Figures:
    """Latencies in seconds; an error is any answer but 2xx."""

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    errors: int = 0

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def quantile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Connection:
    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> "Connection":
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        return self

    async def ask(self, data: bytes) -> int:
        self._writer.write(data)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:")
        await self._reader.readexactly(length)
        return int(head[9:12])

    def close(self) -> None:
        self._writer.close()


async def once(port: int, data: bytes) -> int:
    """One request on a connection of its own; its status."""
    connection = await Connection(port).open()
    status = await connection.ask(data)
    connection.close()
    return status


async def as_fast_as_possible(port: int, requests: Iterator[bytes], *, connections: int, seconds: float) -> Figures:
    figures = Figures()
    opened = [await Connection(port).open() for _ in range(connections)]
    began = time.perf_counter()

    async def keep_asking(connection: Connection) -> None:
        while time.perf_counter() - began < seconds:
            at = time.perf_counter()
            status = await connection.ask(next(requests))
            figures.latencies.append(time.perf_counter() - at)
            figures.errors += status >= 300

    await asyncio.gather(*(keep_asking(connection) for connection in opened))
    figures.seconds = time.perf_counter() - began
    for connection in opened:
        connection.close()
    return figures


async def at_rate(port: int, requests: Iterator[bytes], *, rate: float, seconds: float, connections: int) -> Figures:
    """One request each 1/rate seconds whatever the answers do; the wait for a connection counts as latency."""
    figures = Figures()
    idle: asyncio.Queue[Connection] = asyncio.Queue()
    for _ in range(connections):
        idle.put_nowait(await Connection(port).open())
    began = time.perf_counter()

    async def ask(due: float) -> None:
        connection = await idle.get()
        status = await connection.ask(next(requests))
        figures.latencies.append(time.perf_counter() - due)
        figures.errors += status >= 300
        idle.put_nowait(connection)

    async with asyncio.TaskGroup() as tasks:
        for number in range(int(rate * seconds)):
            due = began + number / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(ask(due))
    figures.seconds = time.perf_counter() - began
    while not idle.empty():
        idle.get_nowait().close()
    return figures
