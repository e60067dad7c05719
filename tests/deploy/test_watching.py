"""What `deploy/` asks Prometheus for exists, with those labels; every alert has its part of the page on observing."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "oneiro.json").read_text())
REFERENCE = (ROOT / "docs" / "reference" / "metrics.md").read_text()
OBSERVE = (ROOT / "docs" / "how-to" / "observe.md").read_text()

# What Prometheus adds to every sample, and what its client library tells of any process.
OF_EVERY = {"job", "instance"}
FOREIGN: dict[str, set[str]] = {
    "up": set(),
    "process_cpu_seconds_total": set(),
    "process_resident_memory_bytes": set(),
    "process_open_fds": set(),
    "process_max_fds": set(),
}
WORDS = {"and", "or", "unless", "on", "ignoring", "by", "without", "offset", "bool", "group_left", "group_right"}


class Asked(NamedTuple):
    """Names of metrics in an expression with the labels they are selected by, and the labels it groups by."""

    selected: list[tuple[str, set[str]]]
    grouped: set[str]


def asked(expression: str) -> Asked:
    """What a PromQL expression asks for; enough of the language for the expressions here."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expression)
    grouped = {
        label.strip()
        for labels in re.findall(r"\b(?:by|without|on|ignoring)\s*\(([^)]*)\)", plain)
        for label in labels.split(",")
        if label.strip()
    }
    rest = re.sub(r"\b(?:by|without|on|ignoring)\s*\([^)]*\)|\[[^\]]*\]", " ", plain)
    selected = [
        (name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", labels or "")))
        for name, labels, call in re.findall(r"(?<![\w.:])([a-zA-Z_:][\w:]*)\s*(?:\{([^}]*)\}|(\())?", rest)
        if not call and name not in WORDS
    ]
    return Asked(selected, grouped)


def described() -> dict[str, set[str]]:
    """Every series of the reference with its labels, the parts of histograms among them."""
    found = dict(FOREIGN)
    rows = re.findall(r"^\| `(oneiro_\w+)` \|(?: (counter|gauge|histogram) \|)?([^|]*)\|", REFERENCE, re.MULTILINE)
    for name, kind, cell in rows:
        labels = set(re.findall(r"`(\w+)`", cell.partition(":")[0]))
        if kind == "histogram":
            found |= {f"{name}_bucket": labels | {"le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    return found


def rules(name: str) -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


RECORDED = rules("rules.yaml")
ALERTS = rules("alerts.yaml")
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def recorded() -> dict[str, set[str]]:
    return {rule["record"]: asked(rule["expr"]).grouped - {"le"} for rule in RECORDED}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in RECORDED:
        yield rule["record"], rule["expr"]
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in PANELS:
        for target in panel["targets"]:
            yield panel["title"], filled(target["expr"])


def filled(expression: str) -> str:
    """A panel's expression as Grafana sends it."""
    return expression.replace("$__rate_interval", "5m").replace("$interpreter", ".*")


def test_names_and_labels_are_found_in_an_expression() -> None:
    found = asked('sum by (a, b) (rate(x_total{k=~"y{z}",l!="m"}[5m])) / on (c) max(up) > 0.5 and absent(r:s)')

    assert found.selected == [("x_total", {"k", "l"}), ("up", set()), ("r:s", set())]
    assert found.grouped == {"a", "b", "c"}


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_an_expression_asks_for_what_there_is(where: str, expression: str) -> None:
    series = described() | recorded()
    found = asked(expression)

    assert found.selected, "it asks for something"
    assert [name for name, _ in found.selected if name not in series] == []
    assert [
        (name, labels - series[name] - OF_EVERY) for name, labels in found.selected if labels - series[name] - OF_EVERY
    ] == []
    known = set().union(*(series[name] for name, _ in found.selected)) | OF_EVERY
    assert found.grouped <= known


@pytest.mark.parametrize(("where", "expression"), list(expressions()))
def test_a_counter_is_never_read_without_its_rate_and_a_shared_gauge_never_added_up(
    where: str, expression: str
) -> None:
    shared = re.findall(r"^\| `(oneiro_\w+)` \| (?!counter|gauge|histogram)", REFERENCE, re.MULTILINE)
    assert len(shared) == 7
    for name, _ in asked(expression).selected:
        if name.startswith("oneiro_") and name.endswith(("_total", "_bucket", "_count", "_sum")):
            assert re.search(rf"(?:rate|increase)\({name}\b", expression)
        if name in shared:
            assert re.search(rf"(?:max(?: by \(\w+\))? ?|absent)\({name}\b", expression)


def test_every_figure_is_on_the_dashboard() -> None:
    shown = {
        name for panel in PANELS for target in panel["targets"] for name, _ in asked(filled(target["expr"])).selected
    }
    plain = {re.sub(r"_(bucket|count|sum)$", "", name) for name in shown}

    assert set(re.findall(r"^\| `(oneiro_\w+)` \|", REFERENCE, re.MULTILINE)) <= plain


def test_a_legend_names_only_labels_that_its_expression_leaves() -> None:
    for panel in PANELS:
        for target in panel["targets"]:
            named = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            found = asked(filled(target["expr"]))
            left = found.grouped or OF_EVERY
            assert named <= left, panel["title"]


def test_the_panels_of_the_dashboard_do_not_overlap_and_have_their_own_ids() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert all(panel["description"] and panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)


def test_every_alert_says_how_urgent_it_is_and_where_the_page_tells_what_to_do() -> None:
    sections = {match.lower() for match in re.findall(r"^### (\w+)$", OBSERVE, re.MULTILINE)}
    for rule in ALERTS:
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
        place, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert (ROOT / place).is_file()
        assert anchor == rule["alert"].lower()
    assert {rule["alert"].lower() for rule in ALERTS} == sections


def test_a_labels_value_that_an_alert_names_is_one_that_its_rule_leaves() -> None:
    for rule in ALERTS:
        named = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        found = asked(rule["expr"])
        left = set().union(found.grouped, *(recorded().get(name, set()) for name, _ in found.selected))
        assert named <= left | (OF_EVERY if rule["expr"].startswith("up") else set()), rule["alert"]


def test_every_alert_is_tried_and_every_page_also_in_a_quiet_hour() -> None:
    cases = yaml.safe_load((PROMETHEUS / "alerts_test.yaml").read_text())["tests"]
    tried = [test for case in cases for test in case.get("alert_rule_test", [])]
    firing = {test["alertname"] for test in tried if test.get("exp_alerts")}
    quiet = {test["alertname"] for test in tried if not test.get("exp_alerts")}

    assert firing == {rule["alert"] for rule in ALERTS}
    assert {rule["alert"] for rule in ALERTS if rule["labels"]["severity"] == "page"} <= quiet


def test_every_job_of_the_rules_is_scraped_by_the_example_and_by_the_page() -> None:
    scraped = yaml.safe_load((PROMETHEUS / "prometheus.yaml").read_text())
    jobs = {job["job_name"] for job in scraped["scrape_configs"]}
    asked_for = {
        name for rule in ALERTS for names in re.findall(r'job=~?"([^"]+)"', rule["expr"]) for name in names.split("|")
    }

    assert jobs == asked_for == {"oneiro", "oneiro-worker"}
    assert set(re.findall(r"job_name: (\S+)", OBSERVE)) == jobs
    assert [Path(path).name for path in scraped["rule_files"]] == ["rules.yaml", "alerts.yaml"]


def test_promtool_where_it_is_there_accepts_the_rules_their_tests_and_the_dashboards_expressions(
    tmp_path: Path,
) -> None:
    panels = [
        {"record": f"panel:{number}", "expr": filled(target["expr"])}
        for number, target in enumerate(target for panel in PANELS for target in panel["targets"])
    ]
    written = tmp_path / "panels.yaml"
    written.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": panels}]}))
    promtool = shutil.which("promtool")
    runs = (
        ["check", "rules", "rules.yaml", "alerts.yaml", str(written)],
        ["test", "rules", "alerts_test.yaml"],
        ["check", "config", "--syntax-only", "prometheus.yaml"],
    )
    ended = [
        subprocess.run([promtool, *run], cwd=PROMETHEUS, capture_output=True, text=True, timeout=60, check=False)
        for run in runs
        if promtool is not None
    ]

    assert [done.stdout + done.stderr for done in ended if done.returncode] == []
    assert len(panels) > 20
