"""The build hook: a wheel or an sdist holds the built pages; an editable install leaves them to `make ui`."""

import importlib.util
import os
from pathlib import Path
from types import ModuleType
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class PagesHook(BuildHookInterface[Any]):
    """Builds `ui/` unless ONEIRO_SKIP_UI is set, the install is editable, or the bundle is current."""

    def dependencies(self) -> list[str]:
        """Node, only where something has to be built."""
        return [self._pages().NODE] if self._wanted() and not self._pages().current() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Put the bundle, which git does not keep, into what is built."""
        if version == "editable" or not self._wanted():
            return
        self._pages().build()
        build_data["artifacts"].append("src/oneiro/web/static/**")

    def _wanted(self) -> bool:
        # An sdist holds the bundle already, and no reason to build it again.
        return not os.environ.get("ONEIRO_SKIP_UI") and (Path(self.root) / "ui" / "build.py").is_file()

    def _pages(self) -> ModuleType:
        spec = importlib.util.spec_from_file_location("oneiro_ui_build", Path(self.root) / "ui" / "build.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
