"""docs/reference/clouds.md is what a node answers, and the guides of the clouds run."""

import json

import pytest
from tests.docs.blocks import blocks_of
from tests.docs.pages import fits, page, run_blocks
from tests.docs.test_http import parsed

PAGE = "docs/reference/clouds.md"
EXAMPLES = [(body, line) for language, body, line in blocks_of(page(PAGE)) if language == "http"]


@pytest.mark.parametrize(("text", "line"), EXAMPLES, ids=[f"line {line}" for _, line in EXAMPLES])
def test_the_example_is_what_a_node_answers(node, text, line):
    (method, path, headers, body), (status, expected, answer) = parsed(text)
    got_status, got, got_body = node.request(method, path, body.encode() or None, headers)
    assert got_status == status
    assert {name: got.get(name) for name in expected} == expected
    assert fits(answer, got_body.decode()), got_body.decode()


def test_every_address_is_there(node):
    addresses = [
        line.split("`")[1].replace("{any}", "1").replace("{endpoint}", "churn")
        for line in page(PAGE).splitlines()
        if line.startswith("| `/")
    ]
    assert len(addresses) == 12
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
