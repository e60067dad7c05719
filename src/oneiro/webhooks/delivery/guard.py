"""Webhooks go to public addresses only, whatever a name answers today.

The check stands where a connection is opened: a name is looked up once, every address it gives is checked, and the
connection is made to a checked address, while Host and TLS keep the name. So a name that changes its answer between
check and use (DNS rebinding) has nothing to win. Redirects are never followed.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import httpcore

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

_UNICAST: Final = ipaddress.IPv6Network("2000::/3")
"""The only part of IPv6 that is given out as global unicast (IANA)."""
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
_REFUSED: Final = (
    ipaddress.ip_network("192.0.0.0/24"),  # For protocols (IANA); Oracle's metadata among others.
    ipaddress.ip_network("2001::/32"),  # Teredo: an IPv4 address that cannot be told.
    ipaddress.ip_network("168.63.129.16/32"),  # Azure's host, public by number alone.
    ipaddress.ip_network("192.88.99.0/24"),  # Relays of 6to4 (RFC 7526).
)


class AddressRefused(Exception):
    """The name leads to an address that webhooks may not go to."""


class NameUnknown(Exception):
    """The name leads nowhere."""


def is_public(address: Address) -> bool:
    """Whether an address is one of the public net; an IPv4 address inside an IPv6 one is judged itself."""
    if isinstance(address, ipaddress.IPv6Address) and (inner := _embedded(address)) is not None:
        return is_public(inner)
    if isinstance(address, ipaddress.IPv6Address) and address not in _UNICAST:
        return False
    if address.is_multicast or not address.is_global:
        return False
    return not any(address.version == network.version and address in network for network in _REFUSED)


def _embedded(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if address in _NAT64:
        return ipaddress.IPv4Address(address.packed[-4:])
    return address.ipv4_mapped or address.sixtofour


async def system_resolver(host: str, port: int) -> list[str]:
    """The addresses that this machine's resolver gives for a name."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise NameUnknown from None
    return [str(info[4][0]) for info in found]


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Opens connections to checked addresses only; with `allow_private` to any."""

    def __init__(self, *, allow_private: bool, resolve: Resolve = system_resolver) -> None:
        self._allow_private = allow_private
        self._resolve = resolve
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature.
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first checked address that answers.

        Raises `NameUnknown`, `AddressRefused` when any address of the name is not public, or httpcore's errors.
        """
        addresses = list(dict.fromkeys(await self._resolve(host, port)))
        if not addresses:
            raise NameUnknown
        if not self._allow_private and not all(is_public(ipaddress.ip_address(address)) for address in addresses):
            raise AddressRefused
        for address in addresses[:-1]:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._backend.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature.
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Never: an address is on the net."""
        raise AddressRefused

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


def connections(
    *, allow_private: bool, resolve: Resolve = system_resolver, trust: ssl.SSLContext | None = None
) -> httpcore.AsyncConnectionPool:
    """A pool whose connections are all guarded; no proxy of the environment stands in between."""
    return httpcore.AsyncConnectionPool(
        ssl_context=trust or ssl.create_default_context(),
        network_backend=GuardedBackend(allow_private=allow_private, resolve=resolve),
        max_connections=100,
        max_keepalive_connections=20,
        keepalive_expiry=30.0,
        http2=False,
    )
