"""Where webhooks may go: names are given by a resolver of the test's own, connections are real ones to loopback."""

import asyncio
import ipaddress
import ssl
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from starlette.responses import RedirectResponse, Response

from oneiro.errors import ValidationError
from oneiro.webhooks.delivery.guard import connections, is_public
from oneiro.webhooks.delivery.post import MOST_ANSWER, Answer, post
from oneiro.webhooks.endpoints.address import checked

Serve = Callable[..., Awaitable[str]]


class Names:
    """A resolver that answers as it is told, the last answer for ever, and counts how often it was asked."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


async def attempt(url: str, names: Names, *, allow_private: bool = False, **options: Any) -> Answer:
    async with connections(allow_private=allow_private, resolve=names, trust=options.pop("trust", None)) as pool:
        return await post(pool, url, {"webhook-id": "1"}, b"{}", **options)


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "0.0.0.0",  # noqa: S104 - an address to refuse.
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "100.100.100.200",
    "168.63.129.16",
    "192.0.0.192",
    "198.18.0.1",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "192.88.99.1",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:10.0.0.1",
    "::7f00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "2001:0:53aa:64c:0:0:0:1",
    "2001:db8::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "100::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_that_is_not_of_the_public_net_is_refused(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
)
def test_an_address_of_the_public_net_is_let_through(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com",
        "https://",
        "https:///hook",
        "not an address",
        "https://user:pass@example.com",
        "https://user@example.com",
        "https://example.com/#part",
        "https://example.com:22/",
        "https://example.com:80/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://169.254.169.254/latest/meta-data",
        "https://localhost/",
        "https://api.localhost/",
        "https://metadata.google.internal/",
        "https://printer.local./",
        "https://database/",
        "https://xn--\ud800/",
        "https://exa mple.com/",
    ],
)
def test_an_endpoint_that_cannot_be_public_https_is_refused_when_it_is_registered(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        checked(url, allow_private=False)
    assert caught.value.errors is not None
    assert caught.value.errors[0]["field"] == "url"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://example.com", "https://example.com"),
        (" https://example.com:8443/a?b=c ", "https://example.com:8443/a?b=c"),
        ("https://bücher.example/x", "https://xn--bcher-kva.example/x"),
    ],
)
def test_a_public_https_address_is_kept(url: str, kept: str) -> None:
    assert checked(url, allow_private=False) == kept


def test_private_and_plain_addresses_are_for_those_who_allow_them() -> None:
    assert checked("http://127.0.0.1:9000/hook", allow_private=True) == "http://127.0.0.1:9000/hook"
    with pytest.raises(ValidationError):
        checked("ftp://127.0.0.1/", allow_private=True)


@pytest.mark.parametrize("answer", [["127.0.0.1"], ["::1"], ["169.254.169.254"], ["93.184.216.34", "127.0.0.1"]])
async def test_a_name_that_leads_to_a_private_address_is_never_connected_to(receiver: Any, answer: list[str]) -> None:
    port = urlsplit(receiver.url).port

    sent = await attempt(f"http://rebound.example:{port}/hook", Names(answer))

    assert (sent.status, sent.error) == (None, "address")
    assert receiver.got == []


async def test_a_name_is_looked_up_once_and_the_checked_address_is_used(receiver: Any) -> None:
    """Rebinding: a second lookup would give another address, but there is none."""
    port = urlsplit(receiver.url).port
    names = Names(["127.0.0.1"], ["203.0.113.1"])

    sent = await attempt(f"http://rebound.example:{port}/hook", names, allow_private=True)

    assert sent.ok
    assert names.asked == ["rebound.example"]
    assert receiver.got[0][0]["host"] == f"rebound.example:{port}"


@pytest.mark.parametrize("url", ["http://2130706433/", "http://0x7f000001/", "http://127.1/"])
async def test_numbers_that_mean_loopback_are_seen_through(url: str) -> None:
    async with connections(allow_private=False) as pool:
        assert (await post(pool, url, {}, b"{}")).error in {"address", "name"}


async def test_the_next_address_is_tried_when_one_does_not_answer(receiver: Any) -> None:
    port = urlsplit(receiver.url).port

    sent = await attempt(f"http://two.example:{port}/", Names(["::1", "127.0.0.1"]), allow_private=True)

    assert sent.ok


async def test_a_redirect_is_a_failure_and_is_not_followed(receiver: Any) -> None:
    receiver.answers = [RedirectResponse("http://127.0.0.1:1/elsewhere", status_code=307)]

    sent = await attempt(receiver.url, Names(["127.0.0.1"]), allow_private=True)

    assert (sent.status, sent.error, sent.ok) == (307, "status", False)
    assert len(receiver.got) == 1


async def test_a_name_that_leads_nowhere_is_said() -> None:
    assert (await attempt("https://nowhere.example/", Names([]))).error == "name"


async def test_a_closed_port_is_a_connection_that_failed(serve: Serve) -> None:
    sent = await attempt("http://closed.example:9/", Names(["127.0.0.1"]), allow_private=True)

    assert (sent.status, sent.error) == (None, "connection")


async def test_a_receiver_that_never_answers_is_left_after_the_time(receiver: Any) -> None:
    receiver.gate = asyncio.Event()

    sent = await attempt(receiver.url, Names(["127.0.0.1"]), allow_private=True, seconds=0.2)
    receiver.gate.set()

    assert (sent.status, sent.error) == (None, "timeout")


async def test_an_endless_answer_is_not_read_to_its_end(receiver: Any) -> None:
    receiver.answers = [Response(b"x" * (MOST_ANSWER * 64))]

    assert (await attempt(receiver.url, Names(["127.0.0.1"]), allow_private=True)).ok


async def test_tls_is_checked_against_the_name_and_not_against_the_address(
    serve: Serve, receiver: Any, certificate: tuple[str, str]
) -> None:
    chain, key = certificate
    port = urlsplit(await serve(receiver, ssl_certfile=chain, ssl_keyfile=key)).port
    trust = ssl.create_default_context(cafile=chain)

    async def to(host: str, trusted: ssl.SSLContext | None) -> Answer:
        names = Names(["127.0.0.1"])
        return await attempt(f"https://{host}:{port}/hook", names, allow_private=True, trust=trusted)

    assert (await to("hooks.example", trust)).ok
    assert (await to("other.example", trust)).error == "tls"
    assert (await to("hooks.example", None)).error == "tls"
    assert len(receiver.got) == 1
