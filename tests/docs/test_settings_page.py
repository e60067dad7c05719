"""`docs/reference/settings.md` says which settings nothing reads yet: those, and no others."""

import re
from pathlib import Path

import oneiro
from oneiro.settings import Settings, environment_name

SOURCE = Path(oneiro.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "settings.md"


def test_the_settings_said_to_be_read_by_nothing_are_those_that_nothing_reads() -> None:
    source = "\n".join(path.read_text() for path in SOURCE.rglob("*.py") if path != SOURCE / "settings.py")
    unread = {environment_name(name) for name in Settings.model_fields if not re.search(rf"settings\.{name}\b", source)}
    said = re.search(r"^Nothing reads (.+?) yet", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)

    assert set(re.findall(r"`([A-Z_]+)`", said[1] if said else "")) == unread
