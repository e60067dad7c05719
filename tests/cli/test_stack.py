"""The engine beneath `up` and `talk`: nobody else on this machine may ask it."""

from contextlib import AsyncExitStack

import httpx

from oneiro.cli.stack import with_engine
from oneiro.settings import Settings


async def test_the_engine_that_plays_the_platform_opens_with_its_own_key_alone() -> None:
    async with AsyncExitStack() as stack:
        settings = await with_engine(stack, Settings(elevenlabs_api_key=None), 1.0, None, api_port=1)
        assert settings.elevenlabs_base_url is not None
        assert settings.elevenlabs_api_key is not None
        own = settings.elevenlabs_api_key.get_secret_value()
        async with httpx.AsyncClient(base_url=settings.elevenlabs_base_url, trust_env=False, timeout=30) as client:
            answers = [
                (await client.get("/v1/convai/conversations", headers={"xi-api-key": key})).status_code
                for key in ("engine", "any", own)
            ]

    assert answers == [401, 401, 200]
