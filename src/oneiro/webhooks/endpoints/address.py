"""What an endpoint's address may be, as far as it can be told without looking its name up."""

import ipaddress
import re
from typing import Final

import httpx

from oneiro.errors import ValidationError
from oneiro.webhooks.delivery.guard import is_public

PORTS: Final = frozenset({443, 8443})
"""Ports of HTTPS; an address of ours must not become a way to knock at other services of the net."""


def checked(url: str, *, allow_private: bool) -> str:
    """The address in its normal form; raises `ValidationError` when webhooks cannot go there.

    The name behind it is looked up at each delivery, and checked there again: see `guard`.
    """
    try:
        parsed = httpx.URL(url.strip())
    except (httpx.InvalidURL, UnicodeError):
        raise _wrong("is not an address") from None
    if not re.fullmatch(r"[a-z0-9._:-]+", parsed.raw_host.decode("ascii", "replace")):
        raise _wrong("names no host")
    if parsed.userinfo or parsed.fragment:
        raise _wrong("must hold neither user nor fragment")
    if parsed.scheme not in ({"https", "http"} if allow_private else {"https"}):
        raise _wrong("must begin with https://")
    if not allow_private and ((parsed.port or 443) not in PORTS or not _may_be_public(parsed.host)):
        raise _wrong("must be a public host, on port 443 or 8443 (see ONEIRO_WEBHOOKS_ALLOW_PRIVATE)")
    return str(parsed)


def _may_be_public(host: str) -> bool:
    try:
        return is_public(ipaddress.ip_address(host))
    except ValueError:
        return "." in host.rstrip(".") and not host.rstrip(".").endswith((".localhost", ".local", ".internal"))


def _wrong(message: str) -> ValidationError:
    return ValidationError(f"url {message}.", errors=[{"field": "url", "message": message}])
