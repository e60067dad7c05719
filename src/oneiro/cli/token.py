"""`oneiro token`: a token for a dreamer or an operator, for trying things out and for servers of the team."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID, uuid5

import typer

from oneiro.app import local_dreamer
from oneiro.auth import issue_token
from oneiro.cli.stack import local_secret
from oneiro.errors import SetupError
from oneiro.settings import load_settings

app = typer.Typer()

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _seconds(value: str) -> timedelta:
    match = re.fullmatch(r"(\d{1,6})([smhd])", value)
    if match is None or int(match[1]) == 0:
        raise typer.BadParameter("a number and s, m, h or d, for example 30m or 12h")
    return timedelta(seconds=int(match[1]) * UNITS[match[2]])


@app.command()
def token(
    user: Annotated[UUID | None, typer.Option(help="The dreamer's id. [the local dreamer]")] = None,
    operator: Annotated[bool, typer.Option("--operator", help="An operator's token.")] = False,
    ttl: Annotated[str, typer.Option(help="How long it is valid: 30m, 12h, 7d.")] = "12h",
    data_dir: Annotated[Path | None, typer.Option(help="Data directory whose secret signs it.")] = None,
) -> None:
    """Print a token, signed with ONEIRO_JWT_SECRET or with the secret of the data directory."""
    settings = load_settings(data_dir=data_dir)
    if settings.jwks_url and settings.jwt_secret is None:
        raise SetupError("tokens are signed by the issuer of ONEIRO_JWKS_URL; ask there for one")
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else local_secret(settings.data_dir)
    who = user or (uuid5(local_dreamer(), "operator") if operator else local_dreamer())
    typer.echo(
        issue_token(
            secret,
            user_id=who,
            operator=operator,
            ttl=_seconds(ttl),
            now=datetime.now(UTC),
            audience=settings.jwt_audience,
            issuer=settings.jwt_issuer,
        )
    )
