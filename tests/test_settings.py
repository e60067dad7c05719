import re
from pathlib import Path

import pytest

from oneiro.errors import SetupError
from oneiro.settings import Settings, environment_name, load_settings

PAGE = Path(__file__).parent.parent / "docs" / "reference" / "settings.md"


def test_every_setting_and_no_other_is_documented() -> None:
    documented = re.findall(r"^\| `([A-Z_]+)` \|", PAGE.read_text(), re.MULTILINE)

    assert sorted(documented) == sorted(environment_name(name) for name in Settings.model_fields)


def test_the_documented_defaults_are_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `([A-Z_]+)` \| ([^|]*) \|", PAGE.read_text(), re.MULTILINE))
    for name, field in Settings.model_fields.items():
        default = field.default
        if name == "data_dir":
            continue
        shown = "" if default in (None, []) else ",".join(default) if isinstance(default, list) else str(default)
        if isinstance(default, bool):
            shown = shown.lower()

        assert rows[environment_name(name)].strip().strip("`") == shown, name


def test_lists_are_words_with_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEIRO_LANGUAGES", "en, de,fr")

    assert load_settings().languages == ["en", "de", "fr"]


def test_a_wrong_setting_is_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEIRO_PORT", "many")

    with pytest.raises(SetupError, match=r"^ONEIRO_PORT: "):
        load_settings()


def test_arguments_stand_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEIRO_PORT", "9000")

    assert load_settings(port=8500).port == 8500
    assert load_settings(port=None).port == 9000


def test_secrets_do_not_show() -> None:
    settings = Settings(jwt_secret="hush", elevenlabs_api_key="key")

    assert "hush" not in repr(settings)
    assert settings.elevenlabs_api_key is not None
