"""Tokens that were checked a moment ago: remembered for a short while, never longer than they hold."""

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest

from oneiro.auth import Identity, SharedSecret, Tokens, issue_token
from oneiro.errors import Unauthenticated
from oneiro.http import RememberedTokens

SECRET = "a secret of at least thirty-two bytes"


class Counted(Tokens):
    """Counts how often it is asked."""

    def __init__(self) -> None:
        super().__init__(SharedSecret(SECRET), audience="authenticated")
        self.asked = 0
        self.revoked: set[str] = set()

    async def verify(self, token: str) -> Identity:
        self.asked += 1
        if token in self.revoked:
            raise Unauthenticated("The token is signed with a key that is not known here.")
        return await super().verify(token)


class Clock:
    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        return self.now


def token(user_id: UUID, *, seconds: float = 3600) -> str:
    return issue_token(SECRET, user_id=user_id, ttl=timedelta(seconds=seconds), now=datetime.now(UTC))


async def test_a_token_is_checked_once_in_a_while_and_each_gives_its_own_caller() -> None:
    tokens, clock = Counted(), Clock()
    remembered = RememberedTokens(tokens, seconds=30, clock=clock)
    users = [uuid4(), uuid4()]
    made = [token(user) for user in users]

    seen = [(await remembered.verify(each)).user_id for each in made * 3]

    assert seen == users * 3
    assert tokens.asked == 2
    clock.now += 31
    await remembered.verify(made[0])
    assert tokens.asked == 3


async def test_a_token_that_expired_is_checked_again_though_it_is_remembered() -> None:
    clock = Clock()
    remembered = RememberedTokens(Counted(), seconds=30, clock=clock)
    short = token(uuid4(), seconds=10)
    expires_at = (await remembered.verify(short)).expires_at.timestamp()
    tokens = remembered._tokens
    assert isinstance(tokens, Counted)

    clock.now = expires_at - 0.5
    await remembered.verify(short)
    assert tokens.asked == 1
    clock.now = expires_at
    await remembered.verify(short)
    assert tokens.asked == 2


async def test_a_key_that_is_taken_away_is_followed_within_the_while() -> None:
    tokens, clock = Counted(), Clock()
    remembered = RememberedTokens(tokens, seconds=30, clock=clock)
    made = token(uuid4())
    await remembered.verify(made)
    tokens.revoked.add(made)

    clock.now += 31
    with pytest.raises(Unauthenticated):
        await remembered.verify(made)


async def test_refusals_are_not_remembered_and_what_is_remembered_is_bounded() -> None:
    tokens = Counted()
    remembered = RememberedTokens(tokens, most=2)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            await remembered.verify("no token")
    made = [token(uuid4()) for _ in range(3)]
    for each in (*made, made[0]):
        await remembered.verify(each)

    assert tokens.asked == 2 + 3 + 1
