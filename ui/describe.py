"""Writes `openapi.json`, the description from which the pages' types are made; run it when the API changed."""

import json
from pathlib import Path

from pydantic import SecretStr

from oneiro.app import Surroundings, create_app
from oneiro.settings import Settings

HERE = Path(__file__).parent


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
    return json.dumps(whole, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (HERE / "openapi.json").write_text(description(), encoding="utf-8")
