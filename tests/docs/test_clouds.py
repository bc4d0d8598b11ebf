"""docs/reference/clouds.md is what a node answers, and the guides of the clouds run."""

import json

import pytest
from tests.docs.http_examples import answered_as_said, examples_of
from tests.docs.pages import page, run_blocks

PAGE = "docs/reference/clouds.md"


@pytest.mark.parametrize("text", examples_of(PAGE))
def test_the_example_is_what_a_node_answers(node, text):
    answered_as_said(node, text)


def test_every_address_is_there(node):
    addresses = [
        line.split("`")[1].replace("{any}", "1").replace("{endpoint}", "churn")
        for line in page(PAGE).splitlines()
        if line.startswith("| `/")
    ]
    assert len(addresses) == 13
    for path in addresses:
        status, _, body = node.request("GET", path)
        assert status in (200, 405), path
        if status == 405:
            assert json.loads(body)["code"] == "wrong-method"


@pytest.mark.parametrize(
    "name", ["from-mlflow", "from-sagemaker", "from-vertex", "from-azure-ml", "from-mlserver", "from-bentoml"]
)
def test_every_block_of_the_guide_runs_and_prints_what_it_says(name, tmp_path):
    assert run_blocks(f"docs/guide/{name}.md", tmp_path)
