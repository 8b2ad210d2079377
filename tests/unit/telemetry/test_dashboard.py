"""The dashboard uses only existing metrics and labels, and shows all of the worker's own metrics."""

import json
import re

import pytest
from prometheus_client import generate_latest, parser

from tests.unit.telemetry.support import busy_metrics, snapshot
from ttsw.config import shipped_dir

DASHBOARD = json.loads((shipped_dir("configs") / "grafana-dashboard.json").read_text("utf-8"))
PANELS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
VARIABLES = {variable["name"]: variable for variable in DASHBOARD["templating"]["list"]}
EXPRESSIONS = [target["expr"] for panel in PANELS for target in panel["targets"]]
QUERIES = [variable["definition"] for variable in VARIABLES.values() if variable["type"] == "query"]
GIVEN_BY_PROMETHEUS = {"instance", "job", "le"}


@pytest.fixture(scope="module")
def exported() -> dict[str, set[str]]:
    """Return the labels by sample name."""
    metrics = busy_metrics()
    metrics.set_snapshot(snapshot())
    text = generate_latest(metrics.registry)
    labels: dict[str, set[str]] = {}
    for family in parser.text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    return labels


def names(expression: str) -> list[str]:
    return re.findall(r"\b(?:tts|process)_\w+", expression)


@pytest.mark.parametrize("expression", EXPRESSIONS + QUERIES)
def test_each_name_and_label_is_exported(expression, exported):
    assert names(expression)
    for name in names(expression):
        assert name in exported
    for name, selectors in re.findall(r"\b((?:tts|process)_\w+)\{([^}]*)\}", expression):
        assert set(re.findall(r"(\w+)=~?", selectors)) <= exported[name] | GIVEN_BY_PROMETHEUS
    known = set.union(*(exported[name] for name in names(expression))) | GIVEN_BY_PROMETHEUS
    for labels in re.findall(r"by \(([^)]*)\)", expression):
        assert set(labels.split(", ")) <= known


def test_each_of_our_metrics_is_shown(exported):
    shown = {stem(name) for expression in EXPRESSIONS for name in names(expression)}
    assert {stem(name) for name in exported if name.startswith("tts_")} <= shown


def stem(name: str) -> str:
    return re.sub(r"_(bucket|sum|count|created|total)$", "", name)


def test_legends_name_labels_that_remain(exported):
    for panel in PANELS:
        for target in panel["targets"]:
            wanted = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = re.search(r"by \(([^)]*)\)", target["expr"])
            there = set.union(*(exported[name] for name in names(target["expr"]))) | GIVEN_BY_PROMETHEUS
            assert wanted <= (set(grouped[1].split(", ")) if grouped else there), panel["title"]


def test_variables_that_are_used_are_defined():
    used = set(re.findall(r"\$\{?(\w+)\}?", json.dumps(DASHBOARD))) - {"__rate_interval", "__all"}
    assert used <= set(VARIABLES)


def test_panels_have_numbers_of_their_own_and_do_not_overlap():
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    cells = [
        (x, y)
        for panel in DASHBOARD["panels"]
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
