"""The operators' side of the API, for commands: at an address, or on this machine."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx

from oneiro.errors import SetupError
from oneiro.loopback import UNPROXIED

TOKEN_VARIABLE = "ONEIRO_TOKEN"  # noqa: S105  # the name of a variable


class Refused(Exception):
    """The API answered with a problem document."""

    def __init__(self, status: int, problem: dict[str, Any]) -> None:
        super().__init__(problem.get("detail") or f"HTTP {status}")
        self.status = status
        self.code = problem.get("code")
        self.errors: list[dict[str, Any]] = problem.get("errors") or []


class OperatorApi:
    """Calls under `/v1/admin`."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def call(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """One request; raises `Refused`, and `SetupError` when nobody answers there."""
        try:
            answer = await self._client.request(method, f"/v1/admin{path}", json=body, params=query)
        except httpx.TransportError as error:
            raise SetupError(f"{self._client.base_url} cannot be reached ({type(error).__name__})") from error
        if answer.is_error:
            raise Refused(answer.status_code, _problem(answer))
        return answer.json()

    async def pages(self, path: str, **query: Any) -> list[Any]:
        """Every item of a list."""
        items: list[Any] = []
        cursor: dict[str, str] = {}
        while True:
            page = await self.call("GET", path, limit=100, **query, **cursor)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}


@asynccontextmanager
async def operator_api(url: str | None, token: str | None, data_dir: Path | None) -> AsyncIterator[OperatorApi]:
    """The API at `url`, or without one that of the data directory: the running one, or one that this command runs.

    Raises `SetupError` when an address is given without a token.
    """
    if url is None:
        # What runs everything on one machine takes seconds to import; who names an address does not need it.
        from oneiro.cli.operator_local import local_operator  # noqa: PLC0415  # see above

        async with local_operator(data_dir) as (own, signed), _client(own, signed) as api:
            yield api
        return
    token = token or os.environ.get(TOKEN_VARIABLE)
    if not token:
        raise SetupError(f"{url} wants an operator's token: give --token or set {TOKEN_VARIABLE}")
    async with _client(url, token) as api:
        yield api


@asynccontextmanager
async def _client(url: str, token: str) -> AsyncIterator[OperatorApi]:
    # Provisioning designs voices, which takes the platform a while.
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx.AsyncClient(base_url=url.rstrip("/"), timeout=180.0, headers=headers, mounts=UNPROXIED) as client:
        yield OperatorApi(client)


def _problem(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
