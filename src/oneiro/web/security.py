"""The headers of a page: nothing from another host runs, nothing is sent there, nobody unknown may frame it."""

from collections.abc import Iterable
from urllib.parse import urlsplit


def page_headers(sockets: Iterable[str], embedders: Iterable[str]) -> dict[str, str]:
    """Headers of every page; `sockets` are addresses that conversations may be opened at, `embedders` origins."""
    policy = {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'"],
        "media-src": ["'self'", "blob:"],
        "manifest-src": ["'self'"],
        "worker-src": ["'self'"],
        "connect-src": ["'self'", *dict.fromkeys(socket_origin(address) for address in sockets)],
        "frame-ancestors": ["'self'", *embedders],
        "form-action": ["'none'"],
        "base-uri": ["'none'"],
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {' '.join(allowed)}" for name, allowed in policy.items()),
        "Permissions-Policy": "microphone=(self), screen-wake-lock=(self), camera=(), geolocation=()",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


def socket_origin(address: str) -> str:
    """The origin of the WebSocket beside an address: `https://api.example.org/v1` → `wss://api.example.org`.

    Raises ValueError for anything that is no http(s) or ws(s) address.
    """
    parts = urlsplit(address)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc or set(parts.netloc) & set(" ;,'\""):
        raise ValueError(f"not an address of a socket: {address!r}")
    return f"{scheme}://{parts.netloc.rpartition('@')[2]}"
