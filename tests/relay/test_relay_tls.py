"""The platform's sockets over TLS: who is trusted, and what a call may keep in memory for it."""

import datetime as dt
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from websockets.asyncio.server import ServerConnection, serve

from oneiro.errors import PlatformUnavailable
from oneiro.relay import legs
from oneiro.relay.legs import UpstreamLeg, dial
from oneiro.relay.splice import READ_AHEAD


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A file with a key, and a certificate of `localhost` that nobody vouches for."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    unencrypted = serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, unencrypted)
    file = tmp_path / "certificate.pem"
    file.write_bytes(pem + signed.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
async def platform(certificate: Path) -> AsyncIterator[str]:
    """A socket over TLS that says what it hears."""

    async def echo(socket: ServerConnection) -> None:
        async for frame in socket:
            await socket.send(frame)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    async with serve(echo, "127.0.0.1", 0, ssl=context) as server:
        yield f"wss://localhost:{server.sockets[0].getsockname()[1]}/"


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment vouches for it, as it does for a company's own authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    legs._trusting.cache_clear()
    yield
    legs._trusting.cache_clear()


async def _opened(url: str) -> UpstreamLeg:
    leg = await dial(url, within=10, writing=10)
    await leg.send("hello")
    assert await leg.receive() == "hello"
    assert leg.side is not None
    assert leg.side.transport is not None
    return leg


@pytest.mark.usefixtures("trusted")
async def test_all_calls_share_one_copy_of_what_is_trusted(platform: str) -> None:
    opened = [await _opened(platform) for _ in range(2)]
    contexts = {leg.side.transport.get_extra_info("sslcontext") for leg in opened if leg.side and leg.side.transport}
    assert len(contexts) == 1
    assert contexts.pop().verify_mode is ssl.CERT_REQUIRED
    for leg in opened:
        await leg.close(1000, "")


@pytest.mark.usefixtures("trusted")
async def test_no_more_is_read_ahead_of_a_burst_than_was_set(platform: str) -> None:
    leg = await _opened(platform)
    assert leg.side is not None
    assert leg.side.transport is not None
    kept = leg.side.transport.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert READ_AHEAD <= kept <= 2 * READ_AHEAD  # Linux says twice what was asked, for its own account.
    await leg.close(1000, "")


async def test_a_platform_that_nobody_vouches_for_is_not_called(platform: str) -> None:
    legs._trusting.cache_clear()
    with pytest.raises(PlatformUnavailable, match="SSLCertVerificationError"):
        await dial(platform, within=10, writing=10)
