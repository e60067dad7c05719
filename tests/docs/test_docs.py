"""The documentation holds together: every link leads somewhere, and every page can be found."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
INDEX = ROOT / "docs" / "README.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def _prose(page: Path) -> str:
    """The page without its code, where brackets mean other things."""
    return re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(), flags=re.DOTALL)


def _links(page: Path) -> list[tuple[Path, str]]:
    """Relative links as file and anchor."""
    found = re.findall(r"\]\(([^)\s]+)\)", _prose(page))
    parts = [link.partition("#") for link in found if not re.match(r"[a-z]+:", link)]
    return [((page.parent / place).resolve() if place else page, anchor) for place, _, anchor in parts]


def _anchors(page: Path) -> set[str]:
    """Anchors of headings as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_leads_to_a_file_and_its_heading() -> None:
    broken = [
        f"{page.relative_to(ROOT)} -> {place}#{anchor}"
        for page in PAGES
        for place, anchor in _links(page)
        if not place.exists() or (anchor and place.suffix == ".md" and anchor not in _anchors(place))
    ]
    assert broken == []


def test_every_page_can_be_reached_from_the_index() -> None:
    reached: set[Path] = set()
    waiting = [INDEX]
    while waiting:
        page = waiting.pop()
        if page not in reached and page.suffix == ".md" and page.exists():
            reached.add(page)
            waiting += [place for place, _ in _links(page)]
    pages = [page for page in PAGES if ROOT / "docs" in page.parents]
    assert [str(page.relative_to(ROOT)) for page in pages if page not in reached] == []
