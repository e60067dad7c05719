import asyncio
import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from oneiro.auth import KeySet, KeySetUnavailable, SharedSecret, Tokens, is_key_set_fault, issue_token
from oneiro.breaker import CircuitBreaker
from oneiro.errors import SecurityError, Unauthenticated

SECRET = "a secret of at least thirty-two bytes"
NOW = datetime.now(UTC)
HOUR = timedelta(hours=1)


def tokens(secret: str = SECRET, issuer: str | None = None) -> Tokens:
    return Tokens(SharedSecret(secret), audience="authenticated", issuer=issuer)


def signed(**claims: Any) -> str:
    base = {"sub": str(uuid4()), "aud": "authenticated", "exp": NOW + HOUR}
    return jwt.encode({name: value for name, value in (base | claims).items() if value is not None}, SECRET, "HS256")


async def test_an_issued_token_names_its_dreamer() -> None:
    user_id = uuid4()

    caller = await tokens().verify(issue_token(SECRET, user_id=user_id, ttl=HOUR, now=NOW))

    assert (caller.user_id, caller.role, caller.operator) == (user_id, "authenticated", False)
    assert caller.claims["sub"] == str(user_id)


async def test_an_operator_is_known_by_a_claim_that_users_cannot_write() -> None:
    issued = await tokens().verify(issue_token(SECRET, user_id=uuid4(), operator=True, ttl=HOUR, now=NOW))
    forged = await tokens().verify(signed(user_metadata={"oneiro_role": "operator"}))

    assert issued.operator
    assert not forged.operator


async def test_a_server_token_stands_for_no_dreamer() -> None:
    caller = await tokens().verify(issue_token(SECRET, user_id=None, ttl=HOUR, now=NOW))

    assert caller.role == "service_role"
    with pytest.raises(SecurityError):
        caller.dreamer()


@pytest.mark.parametrize(
    "token",
    [
        "",
        "not.a.jwt",
        signed(exp=NOW - HOUR),
        signed(exp=None),
        signed(aud="someone-else"),
        signed(aud=None),
        signed(sub="42"),
        signed(sub=None),
        jwt.encode({"sub": str(uuid4()), "aud": "authenticated", "exp": NOW + HOUR}, "another secret " * 3, "HS256"),
        jwt.encode({"sub": str(uuid4()), "aud": "authenticated", "exp": NOW + HOUR}, "", "none"),
        jwt.encode({"role": "service_role", "exp": NOW + HOUR}, "another secret " * 3, "HS256"),
    ],
    ids=[
        "empty",
        "no jwt",
        "expired",
        "no expiry",
        "audience",
        "no audience",
        "subject",
        "no subject",
        "key",
        "none",
        "server",
    ],
)
async def test_a_token_that_does_not_hold_is_refused(token: str) -> None:
    with pytest.raises(Unauthenticated):
        await tokens().verify(token)


async def test_an_issuer_is_checked_when_one_is_set() -> None:
    good = issue_token(SECRET, user_id=uuid4(), ttl=HOUR, now=NOW, issuer="https://ours.example")

    assert (await tokens(issuer="https://ours.example").verify(good)).user_id
    with pytest.raises(Unauthenticated):
        await tokens(issuer="https://theirs.example").verify(good)


class Issuer:
    """An issuer of asymmetric tokens with an address for its keys."""

    def __init__(self) -> None:
        self.asked = 0
        self.down, self.status = False, 503
        self.free = asyncio.Event()
        self.free.set()
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.add("one")

    def add(self, kid: str) -> None:
        self.keys[kid] = ec.generate_private_key(ec.SECP256R1())

    def token(self, kid: str, key: ec.EllipticCurvePrivateKey | None = None) -> str:
        claims = {"sub": str(uuid4()), "aud": "authenticated", "exp": NOW + HOUR}
        return jwt.encode(claims, key or self.keys[kid], "ES256", headers={"kid": kid})

    async def _answer(self, _request: Request) -> Response:
        self.asked += 1
        await self.free.wait()
        if self.down:
            return Response(status_code=self.status)
        keys = [
            ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": kid, "alg": "ES256", "use": "sig"}
            for kid, key in self.keys.items()
        ]
        return JSONResponse({"keys": keys})

    def key_set(self, breaker: CircuitBreaker | None = None) -> KeySet:
        app = Starlette(routes=[Route("/keys", self._answer)])
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://issuer.example")
        if breaker is None:
            return KeySet("http://issuer.example/keys", client)
        return KeySet("http://issuer.example/keys", client, guard=breaker.call)


async def test_keys_are_read_once_and_used_for_every_token() -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    checked = Tokens(keys, audience="authenticated")

    for _ in range(3):
        assert (await checked.verify(issuer.token("one"))).user_id

    assert issuer.asked == 1
    await keys.close()


async def test_unknown_keys_do_not_make_us_ask_at_will() -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    checked = Tokens(keys, audience="authenticated")
    stranger = ec.generate_private_key(ec.SECP256R1())

    for number in range(5):
        with pytest.raises(Unauthenticated):
            await checked.verify(issuer.token(f"forged-{number}", stranger))

    assert issuer.asked == 1
    await keys.close()


async def test_a_shared_secret_token_does_not_pass_where_keys_are_asymmetric() -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    forged = jwt.encode(
        {"sub": str(uuid4()), "aud": "authenticated", "exp": NOW + HOUR}, SECRET, "HS256", headers={"kid": "one"}
    )

    with pytest.raises(Unauthenticated):
        await Tokens(keys, audience="authenticated").verify(forged)
    await keys.close()


async def test_without_any_key_sign_in_is_unavailable_and_says_so() -> None:
    issuer = Issuer()
    issuer.down = True
    keys = issuer.key_set()
    checked = Tokens(keys, audience="authenticated")

    for _ in range(2):
        with pytest.raises(KeySetUnavailable):
            await checked.verify(issuer.token("one"))
    issuer.down = False

    assert (await checked.verify(issuer.token("one"))).user_id
    await keys.close()


async def test_an_issuer_that_fails_again_and_again_is_left_alone() -> None:
    issuer = Issuer()
    issuer.down = True
    breaker = CircuitBreaker("jwks", is_fault=is_key_set_fault)
    keys = issuer.key_set(breaker)
    checked = Tokens(keys, audience="authenticated")

    for _ in range(8):
        with pytest.raises(KeySetUnavailable):
            await checked.verify(issuer.token("one"))

    assert breaker.state == "open"
    assert issuer.asked == 5
    await keys.close()


async def test_an_address_without_a_key_set_is_no_fault_of_the_issuer() -> None:
    issuer = Issuer()
    issuer.down, issuer.status = True, 404
    breaker = CircuitBreaker("jwks", is_fault=is_key_set_fault)
    keys = issuer.key_set(breaker)

    for _ in range(8):
        with pytest.raises(KeySetUnavailable):
            await keys.key(issuer.token("one"))

    assert breaker.state == "closed"
    await keys.close()


async def test_known_keys_serve_while_somebody_asks_for_new_ones() -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    await keys.key(issuer.token("one"))
    issuer.add("two")
    keys._asked -= 60
    issuer.free.clear()
    renewing = asyncio.create_task(keys.key(issuer.token("two")))
    while issuer.asked < 2:  # noqa: ASYNC110 - the issuer counts, and has no event for it.
        await asyncio.sleep(0)

    async with asyncio.timeout(2):
        assert (await keys.key(issuer.token("one"))).key_id == "one"
    assert not renewing.done()
    issuer.free.set()
    assert (await renewing).key_id == "two"
    await keys.close()


async def test_first_requests_at_once_ask_for_the_keys_once() -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    checked = Tokens(keys, audience="authenticated")

    callers = await asyncio.gather(*(checked.verify(issuer.token("one")) for _ in range(10)))

    assert all(caller.user_id for caller in callers)
    assert issuer.asked == 1
    await keys.close()


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "EdDSA", "HS256"])
async def test_a_token_whose_algorithm_does_not_go_with_its_key_is_refused(algorithm: str) -> None:
    issuer = Issuer()
    keys = issuer.key_set()
    head = base64.urlsafe_b64encode(json.dumps({"alg": algorithm, "kid": "one", "typ": "JWT"}).encode()).rstrip(b"=")
    forged = ".".join([head.decode(), *issuer.token("one").split(".")[1:]])

    with pytest.raises(Unauthenticated):
        await Tokens(keys, audience="authenticated").verify(forged)
    await keys.close()


async def test_an_expiry_that_is_no_time_is_refused() -> None:
    with pytest.raises(Unauthenticated):
        await tokens().verify(signed(exp=10**18))
