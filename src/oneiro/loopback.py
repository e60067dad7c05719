"""Addresses of this machine: no proxy of the environment stands between us and them.

Other addresses are reached as the environment says (HTTPS_PROXY, NO_PROXY and the like).
"""

from collections.abc import Mapping
from typing import Final, Literal
from urllib.parse import urlsplit

LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")

UNPROXIED: Final[Mapping[str, None]] = {"all://127.0.0.1": None, "all://[::1]": None, "all://localhost": None}
"""For `httpx.AsyncClient(mounts=UNPROXIED)`."""


def proxy(url: str) -> Literal[True] | None:
    """For `websockets.connect(proxy=proxy(url))`: what the environment says, and none on this machine."""
    return None if urlsplit(url).hostname in LOOPBACK else True
