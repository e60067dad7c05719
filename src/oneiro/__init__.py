"""Oneiro: backend and web front for conversational dream interpreters."""

from importlib.metadata import version

__version__ = version("oneiro")
