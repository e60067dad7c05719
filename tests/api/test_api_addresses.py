"""No address breaks the API: a NUL character in any part of any path or query of any route."""

import base64
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI

SignIn = Callable[..., httpx.AsyncClient]

NUL = "carl\0"
BROKEN_CURSOR = base64.urlsafe_b64encode(b"2026-11-23T00:00:00+00:00|a\0").decode().rstrip("=")


def sample(schema: dict[str, Any]) -> str:
    return str(uuid4()) if schema.get("format") == "uuid" else "1" if schema.get("type") == "integer" else "carl"


def written(path: str, values: dict[str, str]) -> str:
    return path.format(**{name: quote(value) for name, value in values.items()})


def addresses(app: FastAPI) -> Iterator[tuple[str, str]]:
    """Method and address of every route, with NUL in one parameter of path or query at a time."""
    for path, methods in app.openapi()["paths"].items():
        for method, route in methods.items():
            every = route.get("parameters", [])
            good = {one["name"]: sample(one["schema"]) for one in every if one["in"] == "path"}
            queries = [one["name"] for one in every if one["in"] == "query"]
            yield from ((method, written(path, good | {name: NUL})) for name in good)
            yield from ((method, f"{written(path, good)}?{urlencode({name: NUL})}") for name in [*queries, "unknown"])
            if "cursor" in queries:
                yield method, f"{written(path, good)}?cursor={BROKEN_CURSOR}"


async def test_nul_in_any_part_of_any_address_is_the_callers_fault(app: FastAPI, sign_in: SignIn) -> None:
    operator = sign_in(operator=True)

    answers = [
        (method, address, (await operator.request(method, f"http://127.0.0.1{address}")).status_code)
        for method, address in addresses(app)
    ]

    assert [answer for answer in answers if answer[2] not in {404, 422}] == []
    asked = {address for _, address, _ in answers}
    assert "/v1/admin/interpreters/carl%00" in asked
    assert "/v1/admin/experiments?interpreter=carl%00" in asked
    assert len(asked) > 100


async def test_the_query_that_holds_it_is_named(sign_in: SignIn) -> None:
    answer = await sign_in(operator=True).get("/admin/experiments", params={"interpreter": NUL})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "interpreter")


@pytest.mark.parametrize("address", ["/\0", "/assets/\0", "/console\0", "/v1/interpreters/\0"])
async def test_a_page_of_such_a_name_is_not_found(anonymous: httpx.AsyncClient, address: str) -> None:
    answer = await anonymous.get(f"http://127.0.0.1{quote(address)}")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
