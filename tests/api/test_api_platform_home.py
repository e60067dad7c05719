"""Operators see that the database is a copy, and say what is to become of its agents."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

Change = Callable[..., Awaitable[None]]
SignIn = Callable[..., httpx.AsyncClient]


@pytest.mark.parametrize("database", ["moved", "copied"])
async def test_a_database_in_another_place_is_shown_until_an_operator_says_what_it_is(
    sign_in: SignIn, change: Change, database: str
) -> None:
    operator = sign_in(operator=True)

    async def home() -> Any:
        return (await operator.get("/admin/platform")).json()["home"]

    assert await home() == "here"
    early = await operator.post("/admin/platform/home", json={"database": database})
    assert (early.status_code, early.json()["code"]) == (409, "database_at_home")
    await change("INSERT INTO oneiro.platform_home (place) VALUES ('of the original')")
    assert await home() == "elsewhere"

    settled = await operator.post("/admin/platform/home", json={"database": database})

    assert (settled.status_code, settled.json()["home"]) == (200, "here")
    assert await home() == "here"


@pytest.mark.parametrize("body", [{}, {"database": "gone"}, {"database": "moved", "more": 1}])
async def test_anything_else_is_refused(sign_in: SignIn, body: dict[str, Any]) -> None:
    answer = await sign_in(operator=True).post("/admin/platform/home", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_input")


async def test_dreamers_may_not_say_it(sign_in: SignIn) -> None:
    answer = await sign_in().post("/admin/platform/home", json={"database": "moved"})

    assert answer.status_code == 403
