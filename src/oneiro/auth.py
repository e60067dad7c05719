"""Tokens: Supabase-style JWTs, signed with a shared secret (HS256) or with keys of a JWKS address."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, Protocol
from uuid import UUID

import httpx
import jwt

from oneiro.errors import OneiroError, SecurityError, Unauthenticated
from oneiro.loopback import UNPROXIED

ASYMMETRIC = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512", "PS256", "EdDSA")
# A key set is asked again for an unknown key at most this often, in seconds, so that forged tokens cannot make us
# call it at will; a known set is used for an hour.
UNKNOWN_KEY_PAUSE = 30.0
KEY_SET_LIFETIME = 3600.0


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is calling: a dreamer, an operator (a dreamer with a claim), or a trusted server."""

    user_id: UUID | None
    role: Literal["authenticated", "service_role"]
    operator: bool
    expires_at: datetime
    claims: Mapping[str, Any]

    @property
    def actor(self) -> str:
        """Who acts, as rows and events name it: a person's id, or the role of a server."""
        return str(self.user_id or self.role)

    def dreamer(self) -> UUID:
        """The dreamer's id; raises `SecurityError` for a server's token, which stands for no one."""
        if self.user_id is None:
            raise SecurityError("This needs a dreamer's token, not a server's.")
        return self.user_id


class Keys(Protocol):
    """Gives the key that a token was signed with."""

    algorithms: tuple[str, ...]

    async def key(self, token: str) -> Any:
        """The key for this token; raises `Unauthenticated` when there is none."""


class SharedSecret:
    """One secret for all tokens (HS256)."""

    algorithms: tuple[str, ...] = ("HS256",)

    def __init__(self, secret: str) -> None:
        self._secret = secret

    async def key(self, token: str) -> str:
        """The secret."""
        return self._secret


class KeySetUnavailable(OneiroError):
    """The key set's address does not answer, and no earlier set is known."""

    status = 503
    title = "Sign-in is not available"
    code = "key_set_unavailable"
    retryable = True


def is_key_set_fault(error: Exception) -> bool:
    """Whether the key set's address is at fault: it is away, fails or is overrun; a 404 says that it is well."""
    if isinstance(error, httpx.HTTPStatusError):
        return error.response.status_code == 429 or error.response.status_code >= 500
    return isinstance(error, httpx.TransportError)


Guard = Callable[[Callable[[], Awaitable[httpx.Response]]], Awaitable[httpx.Response]]


async def _at_once(attempt: Callable[[], Awaitable[httpx.Response]]) -> httpx.Response:
    return await attempt()


class KeySet:
    """Keys from a JWKS address, kept in memory; an old set serves while the address is down.

    guard: makes each request of the set, or raises an `OneiroError` while the address is left alone.
    """

    algorithms: tuple[str, ...] = ASYMMETRIC

    def __init__(self, url: str, client: httpx.AsyncClient | None = None, *, guard: Guard = _at_once) -> None:
        self._url = url
        self._guard = guard
        self._client = client or httpx.AsyncClient(timeout=5.0, mounts=UNPROXIED)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def key(self, token: str) -> jwt.PyJWK:
        """The key that the token's `kid` names, asking the address again when it is unknown.

        Raises `KeySetUnavailable` while no set is known, so that nobody is signed out by an issuer that is down.
        """
        kid = str(_header(token).get("kid", ""))
        if self._asking.locked() and kid in self._keys:
            return self._keys[kid]  # One caller asks again; the others need not wait for it.
        async with self._asking:
            age = time.monotonic() - self._asked
            if not self._keys or age > KEY_SET_LIFETIME or (kid not in self._keys and age > UNKNOWN_KEY_PAUSE):
                await self._ask()
        if kid not in self._keys:
            raise Unauthenticated("The token is signed with a key that is not known here.")
        return self._keys[kid]

    async def _get(self) -> httpx.Response:
        return (await self._client.get(self._url)).raise_for_status()

    async def _ask(self) -> None:
        try:
            answer = await self._guard(self._get)
            found = jwt.PyJWKSet.from_dict(answer.json())
        except (httpx.HTTPError, ValueError, jwt.PyJWTError, OneiroError) as error:
            if not self._keys:
                raise KeySetUnavailable(
                    "The keys that tokens are checked with cannot be read just now.", retry_after=5.0
                ) from error
            return
        finally:
            self._asked = time.monotonic()
        self._keys = {key.key_id or "": key for key in found.keys}

    async def close(self) -> None:
        """Close the connection to the address."""
        await self._client.aclose()


class Tokens:
    """Checks tokens: signature, expiry, audience and issuer."""

    def __init__(self, keys: Keys, *, audience: str, issuer: str | None = None) -> None:
        self._keys = keys
        self._audience = audience
        self._issuer = issuer

    async def verify(self, token: str) -> Identity:
        """The caller of a valid token; raises `Unauthenticated` with what is wrong."""
        key = await self._keys.key(token)
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=list(self._keys.algorithms),
                issuer=self._issuer,
                options={"require": ["exp"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise Unauthenticated("The token has expired. Please sign in again.") from None
        except (jwt.PyJWTError, TypeError, ValueError):
            # A header may name an algorithm that does not go with the key; the library then fails on the types.
            raise Unauthenticated("The token is not valid. Please sign in again.") from None
        return self._identity(claims)

    def _identity(self, claims: dict[str, Any]) -> Identity:
        try:
            expires_at = datetime.fromtimestamp(claims["exp"], UTC)
        except (OverflowError, OSError, ValueError, TypeError):
            raise Unauthenticated("The token's expiry is no time.") from None
        # Supabase's server keys carry a role and neither a subject nor an audience.
        if claims.get("role") == "service_role":
            return Identity(None, "service_role", operator=True, expires_at=expires_at, claims=claims)
        audience = claims.get("aud")
        if self._audience not in (audience if isinstance(audience, list) else [audience]):
            raise Unauthenticated("The token is meant for another audience.")
        try:
            user_id = UUID(str(claims.get("sub")))
        except ValueError:
            raise Unauthenticated("The token does not name a dreamer (its subject is not a UUID).") from None
        metadata = claims.get("app_metadata")
        operator = isinstance(metadata, dict) and metadata.get("oneiro_role") == "operator"
        own = claims | {"sub": str(user_id), "role": "authenticated"}
        return Identity(user_id, "authenticated", operator=operator, expires_at=expires_at, claims=own)


def issue_token(
    secret: str,
    *,
    user_id: UUID | None,
    operator: bool = False,
    ttl: timedelta,
    now: datetime,
    audience: str = "authenticated",
    issuer: str | None = None,
) -> str:
    """A token as Supabase would issue it; without a user it is a server's (`service_role`)."""
    claims: dict[str, Any] = {"iat": now, "exp": now + ttl, "role": "authenticated" if user_id else "service_role"}
    if user_id:
        claims |= {"sub": str(user_id), "aud": audience}
    if issuer:
        claims["iss"] = issuer
    if operator:
        claims["app_metadata"] = {"oneiro_role": "operator"}
    return jwt.encode(claims, secret, algorithm="HS256")


def _header(token: str) -> dict[str, Any]:
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise Unauthenticated("The token is not a JWT.") from None
