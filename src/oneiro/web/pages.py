"""The talk page and what it is made of."""

import html
import mimetypes
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import FileResponse, HTMLResponse, Response

from oneiro.errors import NotFound
from oneiro.web.security import page_headers

STATIC = Path(__file__).parent / "static"
PLATFORM = "https://api.elevenlabs.io"
# Their names change with their content.
FOREVER = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=3600"
# Views that the page itself tells apart; whoever reloads one gets the same page.
VIEWS = (
    "/", "/talk/{id}", "/after/{id}", "/journal", "/dreams/{id}", "/conversations/{id}", "/help", "/you",
)  # fmt: skip
FILES = ("manifest.webmanifest", "icon.svg", "icon-192.png", "icon-512.png", "offline.html", "offline.css", "sw.js")
_EMBEDDERS = '<meta name="oneiro-embedders" content="" />'
_DEMO = '<meta name="oneiro-demo" content="" />'
_NOT_BUILT = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Oneiro</title>
<h1>The pages are not built yet</h1>
<p>The API works. In a checkout of Oneiro, <code>make ui</code> builds the pages; a released wheel holds them.</p>
</html>"""


def create_pages(
    *, sockets: Sequence[str], embedders: Sequence[str] = (), simulated: bool = False, static: Path = STATIC
) -> APIRouter:
    """The pages as routes, to be included after everything else.

    `sockets`: addresses at which conversations are opened (the platform's or the engine's, and our own public one);
    the page may connect to nothing else. `embedders`: origins that may show the page in a frame and sign its dreamer
    in. `simulated`: the platform is an engine, and the page says so on arriving. `static`: where the bundle lies;
    without one a single page says how to build it.
    """
    headers = page_headers(sockets, embedders)
    pages = APIRouter(include_in_schema=False)

    async def page() -> Response:
        shell = static / "index.html"
        if not shell.is_file():
            return HTMLResponse(_NOT_BUILT, status_code=503, headers={**headers, "Cache-Control": "no-store"})
        content = shell.read_text("utf-8")
        for tag, value in ((_EMBEDDERS, " ".join(embedders)), (_DEMO, "yes" if simulated else "")):
            content = content.replace(tag, tag.replace('""', f'"{html.escape(value, quote=True)}"'))
        return HTMLResponse(content, headers={**headers, "Cache-Control": "no-cache"})

    async def asset(request: Request, name: str) -> Response:
        return _file(request, static / "assets", name, {**headers, "Cache-Control": FOREVER})

    for path in VIEWS:
        pages.add_api_route(path, page, methods=["GET", "HEAD"])
    pages.add_api_route("/assets/{name}", asset, methods=["GET", "HEAD"])
    for name in FILES:
        pages.add_api_route(f"/{name}", _single(static, name, headers), methods=["GET", "HEAD"])
    return pages


def _single(static: Path, name: str, headers: dict[str, str]) -> Callable[[Request], Awaitable[Response]]:
    caching = "no-cache" if name == "sw.js" else BRIEFLY

    async def single(request: Request) -> Response:
        return _file(request, static, name, {**headers, "Cache-Control": caching})

    return single


def _file(request: Request, folder: Path, name: str, headers: dict[str, str]) -> Response:
    path = folder / name
    if "/" in name or "\\" in name or name.startswith(".") or name.endswith(".gz") or not path.is_file():
        raise NotFound("There is no such page.")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    packed = path.with_name(f"{name}.gz")
    headers = {**headers, "Vary": "Accept-Encoding"}
    if "gzip" in request.headers.get("accept-encoding", "") and packed.is_file():
        return FileResponse(packed, media_type=kind, headers={**headers, "Content-Encoding": "gzip"})
    return FileResponse(path, media_type=kind, headers=headers)
