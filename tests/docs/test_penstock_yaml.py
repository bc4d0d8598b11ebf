"""The page and the JSON Schema of penstock.yaml are what its types say, and its example in the guide is one."""

import importlib.util
import re

import pytest
from tests.docs.pages import ROOT, page

from penstock.control.reading import read_spec

SPEC = importlib.util.spec_from_file_location("yaml_page", ROOT / "docs/reference/penstock_yaml.py")
writer = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(writer)
STRATEGIES = sorted((ROOT / "docs/guide/strategies").glob("*.md"))
GUIDES = [
    "docs/guide/control.md",
    "docs/guide/rollouts.md",
    *(f"docs/guide/strategies/{path.name}" for path in STRATEGIES),
]
AGAIN = "run .venv/bin/python docs/reference/penstock_yaml.py"


def test_the_page_is_up_to_date():
    assert page("docs/reference/penstock-yaml.md") == writer.page(), AGAIN


def test_the_schema_is_up_to_date():
    assert page("docs/formats/penstock.schema.json") == writer.schema(), AGAIN


@pytest.mark.parametrize("guide", GUIDES)
def test_every_example_reads(guide):
    examples = re.findall(r"```yaml\n(.*?)```", page(guide), re.DOTALL)
    assert examples
    for example in examples:
        read_spec(example)
