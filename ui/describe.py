"""Writes `openapi.json`, the description from which the pages' types are made; run it when the API changed."""

import json
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.settings import Settings

HERE = Path(__file__).parent
# Not for dreamers: these pages ask for nothing there.
ELSEWHERE = ("/v1/admin", "/v1/webhooks", "/webhooks", "/metrics", "/healthz", "/readyz")


def description() -> str:
    """The API with its local sign-in, as JSON that differs only where the API does. Nothing is connected to."""
    settings = Settings(
        database_url=SecretStr("postgresql://nowhere"),
        jwt_secret=SecretStr("a secret of at least thirty-two bytes"),
        elevenlabs_api_key=SecretStr("none"),
    )
    whole = create_app(settings, Surroundings(simulated=True, local=True)).openapi()
    # The version says nothing about shapes, and would make every release a change.
    whole["info"]["version"] = "0"
    whole["paths"] = {path: item for path, item in whole["paths"].items() if not path.startswith(ELSEWHERE)}
    known = whole.pop("components")["schemas"]
    whole["components"] = {"schemas": _named_in(whole["paths"], known)}
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _named_in(node: object, known: dict[str, Any]) -> dict[str, Any]:
    """The schemas that something names, and those that they name."""
    found: dict[str, Any] = {}
    waiting = [node]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            name = str(one.get("$ref", "")).rpartition("/")[2]
            if name in known and name not in found:
                found[name] = known[name]
                waiting.append(known[name])
        waiting.extend(one.values() if isinstance(one, dict) else one if isinstance(one, list) else ())
    return found


if __name__ == "__main__":
    (HERE / "openapi.json").write_text(description(), encoding="utf-8")
