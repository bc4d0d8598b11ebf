"""docs/reference/metrics.md lists what /metrics has."""

import json
import re

from prometheus_client.parser import text_string_to_metric_families
from tests.docs.pages import page

from penstock.serving.board import CAPACITY, STATUSES

PAGE = "docs/reference/metrics.md"


def families(node):
    node.post("/predict/churn", {"rows": [{"age": 31.0, "city": "Oslo"}]})
    return list(text_string_to_metric_families(node.get("/metrics")[2].decode()))


def test_the_page_lists_every_metric_with_its_type(node):
    real = {f.name + ("_total" if f.type == "counter" else ""): f.type for f in families(node)}
    said = dict(re.findall(r"^\| `(penstock_[a-z_]+)` \| (\w+) \|", page(PAGE), re.MULTILINE))
    assert said == real


def test_the_labels_are_as_said(node):
    for family in families(node):
        of_version = page(PAGE).index(f"`{family.name}") < page(PAGE).index("## Of the node")
        for sample in family.samples:
            expected = {"endpoint", "arm", "version"} if of_version else set()
            assert set(sample.labels) - {"le", "code"} == expected, family.name


def test_the_statuses_and_the_room_are_the_board_s():
    text = page(PAGE)
    assert f"is the status: {', '.join(map(str, STATUSES))} or `other`" in text
    assert f"{CAPACITY:,}".replace(",", " ") in text


def test_queries_name_metrics_that_exist(node):
    names = {sample.name for family in families(node) for sample in family.samples}
    asked = set(re.findall(r"penstock_[a-z_]+", page(PAGE)[page(PAGE).index("## Questions") :]))
    assert asked and asked <= names, json.dumps(sorted(asked - names))
