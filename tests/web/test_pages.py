"""The pages as a server gives them, without a browser."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from oneiro import http
from oneiro.web import help_lines
from oneiro.web.pages import create_pages
from oneiro.web.security import page_headers, socket_origin

SHELL = (
    '<!doctype html><meta name="oneiro-embedders" content="" /><meta name="oneiro-demo" content="" />'
    '<div id="page"></div>'
)
Serve = Callable[..., httpx.AsyncClient]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    made: list[httpx.AsyncClient] = []

    def client(static: Path, *, embedders: tuple[str, ...] = (), simulated: bool = False) -> httpx.AsyncClient:
        app = FastAPI(openapi_url=None)
        http.install_problems(app)
        app.include_router(help_lines.router, prefix="/v1")
        pages = create_pages(
            sockets=["https://api.example.org"], embedders=embedders, simulated=simulated, static=static
        )
        app.include_router(pages)
        made.append(httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1"))
        return made[-1]

    yield client
    for one in made:
        await one.aclose()


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    (tmp_path / "index.html").write_text(SHELL)
    (tmp_path / "assets" / "index-1a2b.js").write_text("export {};")
    (tmp_path / "assets" / "index-1a2b.js.gz").write_bytes(gzip.compress(b"export {};"))
    (tmp_path / "sw.js").write_text("// nothing")
    (tmp_path / "secret.txt").write_text("not yours")
    return tmp_path


@pytest.mark.parametrize("path", ["/", "/journal", "/help", "/you", "/talk/1", "/after/1", "/dreams/1"])
async def test_every_view_is_the_page_and_is_asked_for_anew(serve: Serve, bundle: Path, path: str) -> None:
    answer = await serve(bundle).get(path)
    assert answer.status_code == 200
    assert answer.text == SHELL
    assert answer.headers["cache-control"] == "no-cache"


async def test_nothing_unsafe_and_nothing_foreign_is_allowed(serve: Serve, bundle: Path) -> None:
    policy = (await serve(bundle).get("/")).headers["content-security-policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert "unsafe" not in policy
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == "'self'"
    assert rules["connect-src"] == "'self' wss://api.example.org"
    assert rules["frame-ancestors"] == "'self'"


async def test_only_known_apps_may_embed_the_page(serve: Serve, bundle: Path) -> None:
    answer = await serve(bundle, embedders=("https://journal.example",)).get("/")
    assert 'content="https://journal.example"' in answer.text
    assert "frame-ancestors 'self' https://journal.example" in answer.headers["content-security-policy"]


async def test_a_page_before_an_engine_says_so_before_anything_is_asked(serve: Serve, bundle: Path) -> None:
    demo = '<meta name="oneiro-demo" content="yes" />'
    assert demo in (await serve(bundle, simulated=True).get("/")).text
    assert demo not in (await serve(bundle).get("/")).text


async def test_assets_may_be_kept_for_ever_and_come_packed(serve: Serve, bundle: Path) -> None:
    client = serve(bundle)
    packed = await client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "gzip"})
    plain = await client.get("/assets/index-1a2b.js", headers={"Accept-Encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.text == plain.text == "export {};"
    assert "immutable" in packed.headers["cache-control"]
    assert packed.headers["vary"] == "Accept-Encoding"
    assert packed.headers["content-type"].startswith("text/javascript")


async def test_the_service_worker_is_never_kept(serve: Serve, bundle: Path) -> None:
    assert (await serve(bundle).get("/sw.js")).headers["cache-control"] == "no-cache"


@pytest.mark.parametrize(
    "path",
    [
        "/assets/..%2Fsecret.txt",
        "/assets/%2e%2e/secret.txt",
        "/assets/none.js",
        "/assets/index-1a2b.js.gz",
        "/secret.txt",
    ],
)
async def test_nothing_beside_the_bundle_is_served(serve: Serve, bundle: Path, path: str) -> None:
    answer = await serve(bundle).get(path)
    assert answer.status_code == 404
    assert "not yours" not in answer.text


async def test_a_server_without_the_bundle_says_how_to_build_it(serve: Serve, tmp_path: Path) -> None:
    answer = await serve(tmp_path).get("/")
    assert answer.status_code == 503
    assert "make ui" in answer.text


async def test_help_lines_are_for_everybody_and_know_their_region(serve: Serve, tmp_path: Path) -> None:
    client = serve(tmp_path)
    british = (await client.get("/v1/help-lines", params={"region": "gb"})).json()
    elsewhere = (await client.get("/v1/help-lines", params={"region": "AQ"})).json()
    assert british["emergency"]["tel"] == "999"
    assert british["lines"][0]["name"] == "Samaritans"
    assert elsewhere["region"] == "international"
    assert elsewhere["emergency"] is None
    assert elsewhere["lines"]


@pytest.mark.parametrize(
    ("address", "origin"),
    [
        ("https://api.elevenlabs.io", "wss://api.elevenlabs.io"),
        ("http://127.0.0.1:8401/v1", "ws://127.0.0.1:8401"),
        ("wss://user:word@relay.example", "wss://relay.example"),
    ],
)
def test_the_socket_of_an_address(address: str, origin: str) -> None:
    assert socket_origin(address) == origin


@pytest.mark.parametrize("address", ["ftp://example.org", "https://", "https://a.example;script-src *", "nonsense"])
def test_an_address_that_would_open_the_policy_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        page_headers([address], ())


def test_the_types_of_the_page_are_in_step_with_the_api() -> None:
    ui = Path(__file__).parents[2] / "ui"
    scope: dict[str, Callable[[], str]] = {"__file__": str(ui / "describe.py")}  # type: ignore[dict-item]
    exec((ui / "describe.py").read_text("utf-8"), scope)  # noqa: S102 - a program of this repository, not a module.
    assert json.loads((ui / "openapi.json").read_text("utf-8")) == json.loads(scope["description"]()), (
        "the API changed: run python ui/describe.py, then make ui"
    )
