"""Closed lists of English words that tell an image from the words around it."""

import tomllib
from functools import cache
from importlib.resources import files


@cache
def _lists() -> dict[str, str]:
    return tomllib.loads(files("oneiro.dreamwork").joinpath("english.toml").read_text(encoding="utf-8"))


def listed(name: str) -> frozenset[str]:
    """Return the list `name` of `english.toml`; an unknown name is a KeyError."""
    return frozenset(_lists()[name].split())
