"""What one replica changes the others use: starts at once, cards as soon as the tail tells of it."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.settings import Settings

SignIn = Callable[..., httpx.AsyncClient]
CARL = "/admin/interpreters/carl"


@pytest.fixture
def operator(sign_in: SignIn) -> httpx.AsyncClient:
    return sign_in(operator=True)


async def publish(operator: httpx.AsyncClient, name: str) -> None:
    answer = await operator.post(f"{CARL}/releases", json={"changes": {"name": name}, "activate": True})
    assert answer.status_code == 201, answer.text


def _revealed(secret: SecretStr | None) -> str:
    assert secret is not None
    return secret.get_secret_value()


@pytest.fixture
async def elsewhere(app: FastAPI, settings: Settings, tmp_path: Path) -> AsyncIterator[str]:
    """`oneiro serve` as a process of its own, which shares nothing but the database and the platform; its address."""
    kept = {name: value for name, value in os.environ.items() if name in {"PATH", "LANG", "LC_ALL", "TMPDIR"}}
    given = {
        "HOME": str(tmp_path),
        "ONEIRO_DATABASE_URL": _revealed(settings.database_url),
        "ONEIRO_JWT_SECRET": _revealed(settings.jwt_secret),
        "ELEVENLABS_API_KEY": _revealed(settings.elevenlabs_api_key),
        "ONEIRO_ELEVENLABS_BASE_URL": str(settings.elevenlabs_base_url),
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "oneiro", "serve", "--port", "0", "--no-worker"),
        env=kept | given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            line = (await process.stdout.readline()).decode()
        assert "listens on" in line, line
        yield line.split()[-1]
    finally:
        process.terminate()
        await process.communicate()


async def test_fifty_times_a_published_change_is_used_by_the_next_start_in_another_process(
    operator: httpx.AsyncClient, sign_in: SignIn, elsewhere: str
) -> None:
    async with httpx.AsyncClient(base_url=f"{elsewhere}/v1", timeout=60) as there:
        for turn in range(50):
            await publish(operator, f"Carl {turn}")
            started = await there.post(
                "/conversations",
                json={"interpreter_id": "carl", "text_only": True},
                headers=sign_in().headers,
            )
            assert (started.status_code, started.json()["interpreter_name"]) == (201, f"Carl {turn}")


class TestCards:
    @pytest.fixture
    def worker(self) -> bool:
        return True

    @pytest.fixture
    async def standing(self, app: FastAPI, settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
        """A client of a replica whose clock stands still: nothing makes it look again but being told."""
        now = datetime.now(UTC)
        replica = create_app(settings, Surroundings(simulated=True), worker=False, clock=lambda: now)
        async with replica.router.lifespan_context(replica):
            transport = httpx.ASGITransport(replica, raise_app_exceptions=False)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1/v1") as client:
                yield client

    async def test_a_change_elsewhere_is_shown_as_soon_as_it_is_told(
        self, operator: httpx.AsyncClient, standing: httpx.AsyncClient
    ) -> None:
        async def names() -> list[str]:
            return [card["name"] for card in (await standing.get("/interpreters")).json()["items"]]

        async def shown(expected: list[str]) -> None:
            async with asyncio.timeout(15):
                while await names() != expected:  # noqa: ASYNC110 - asked over HTTP
                    await asyncio.sleep(0.01)

        await shown(["Carl", "Lakshmi"])
        await publish(operator, "Karl")
        await shown(["Karl", "Lakshmi"])
        await operator.post(f"{CARL}/releases/1/activate")
        await shown(["Carl", "Lakshmi"])
        await operator.post(f"{CARL}/retire")
        await shown(["Lakshmi"])
