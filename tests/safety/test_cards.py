from datetime import date

import pytest

from oneiro.safety import cards
from oneiro.safety.cards import INTERNATIONAL, Card, card, guardrail, regions, spoken
from oneiro.safety.crisis import Tier

REQUIRED = {
    "US",
    "GB",
    "IE",
    "CA",
    "AU",
    "NZ",
    "IN",
    "DE",
    "AT",
    "CH",
    "FR",
    "ES",
    "IT",
    "NL",
    "BE",
    "SE",
    "NO",
    "DK",
    "FI",
    "PL",
    "PT",
    "BR",
    "MX",
    "AR",
    "ZA",
    "JP",
    "KR",
    "SG",
    "HK",
    "IL",
    "PH",
}


def _card(tier: Tier, region: str | None, language: str = "en") -> Card:
    made = card(tier, region, language)
    assert made is not None
    return made


def test_calm_and_dreams_need_no_card() -> None:
    assert card(Tier.none, "US") is None
    assert card(Tier.dream_content, "US") is None
    assert spoken(Tier.dream_content, "US") is None


def test_the_promised_regions_are_there() -> None:
    assert set(regions()) >= REQUIRED


@pytest.mark.parametrize("code", [*regions(), INTERNATIONAL])
def test_every_entry_is_reachable_sourced_and_dated(code: str) -> None:
    entry = cards._resources()[code]
    assert entry["line"]
    for line in [*entry["line"], *([entry["emergency"]] if "emergency" in entry else [])]:
        assert line["source"].startswith("http")
        assert date(2026, 1, 1) <= line["checked"] <= date(2100, 1, 1)
        assert line.get("phone") or line.get("text_to") or line.get("url")


@pytest.mark.parametrize("code", regions())
@pytest.mark.parametrize("tier", [Tier.passive_ideation, Tier.active_danger])
def test_every_region_has_a_working_card(code: str, tier: Tier) -> None:
    made = _card(tier, code.lower())
    assert Card.model_validate_json(made.model_dump_json(exclude={"lines": {"__all__": {"tel"}}})) == made
    assert made.lines[-1].region == INTERNATIONAL
    assert any(line.region == code for line in made.lines)
    assert "{" not in made.text
    for line in made.lines:
        assert line.tel is None or (line.tel.isascii() and line.tel.isdigit() and len(line.tel) >= 3)


def test_in_active_danger_the_emergency_number_stands_first() -> None:
    made = _card(Tier.active_danger, "GB")
    assert made.lines[0].tel == "999"
    assert "999" in made.text
    assert all(line.name != "Emergency services" for line in _card(Tier.passive_ideation, "GB").lines)


@pytest.mark.parametrize("region", [None, "", "ZZ", "Atlantis", "international"])
def test_an_unknown_region_gets_the_directories_and_no_foreign_number(region: str | None) -> None:
    made = _card(Tier.active_danger, region)
    assert [line.phone for line in made.lines] == [None, None]
    assert "your local emergency number" in made.text


def test_lines_in_the_dreamers_language_come_first() -> None:
    assert _card(Tier.passive_ideation, "BE", "fr-BE").lines[0].languages == ("fr",)
    assert _card(Tier.passive_ideation, "BE", "nl").lines[0].languages == ("nl",)


@pytest.mark.parametrize("tier", [Tier.passive_ideation, Tier.active_danger])
@pytest.mark.parametrize("region", [None, *regions()])
def test_spoken_words_stay_ask_and_are_honest(tier: Tier, region: str | None) -> None:
    words = spoken(tier, region)
    assert words is not None
    assert words.endswith("Are you safe right now?")
    assert "I am an AI" in words
    assert "staying" in words
    assert "goodbye" not in words.lower()
    if region is not None:
        assert cards._lines(region)[0].name in words


def test_the_guardrail_speaks_only_when_care_comes_first() -> None:
    assert guardrail("I dreamt that I drowned in the lake") is None
    assert guardrail("I want to kill myself") == spoken(Tier.active_danger, None)
    assert guardrail("I wish I were dead") == spoken(Tier.passive_ideation, None)
