"""The operator of this machine: the API of the data directory, and a token of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid5

from oneiro.app import local_dreamer
from oneiro.auth import issue_token
from oneiro.cli.stack import local_secret, local_stack
from oneiro.settings import Settings, load_settings

TTL = timedelta(minutes=30)


@asynccontextmanager
async def local_operator(data_dir: Path | None) -> AsyncIterator[tuple[str, str]]:
    """Address and token of the Oneiro that runs on the data directory, or of one that runs until the block ends."""
    settings = load_settings(data_dir=data_dir)
    async with local_stack(settings, port=0) as stack:
        yield stack.api_url, _token(settings)


def _token(settings: Settings) -> str:
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else local_secret(settings.data_dir)
    return issue_token(
        secret,
        user_id=uuid5(local_dreamer(), "operator"),
        operator=True,
        ttl=TTL,
        now=datetime.now(UTC),
        audience=settings.jwt_audience,
        issuer=settings.jwt_issuer,
    )
