import io

from hypothesis import given
from hypothesis import strategies as st

from oneiro.cli.screens import Flow, card_text

WORDS = st.lists(st.text(st.characters(categories=["L"], max_codepoint=0x24F), min_size=1, max_size=15), min_size=1)


def flowed(parts: list[str]) -> str:
    out = io.StringIO()
    flow = Flow(out, width=40, indent=6)
    for part in parts:
        flow.add(part)
    flow.close()
    return out.getvalue()


@given(WORDS, st.integers(1, 7))
def test_words_come_out_whole_and_within_the_width_however_they_came(words: list[str], size: int) -> None:
    text = " ".join(words)

    shown = flowed([text[at : at + size] for at in range(0, len(text), size)])

    assert shown.split() == words
    assert all(len(line) <= 40 for line in shown.splitlines()[1:])
    assert shown == flowed([text])


def test_a_card_names_every_way_to_reach_a_help_line() -> None:
    card = {
        "title": "Stay",
        "text": "You are not alone.",
        "lines": [{"name": "A line", "phone": "111", "text_to": None, "url": "https://a.example", "hours": "always"}],
    }

    assert card_text(card).splitlines() == ["Stay", "You are not alone.", "• A line: 111, https://a.example (always)"]
