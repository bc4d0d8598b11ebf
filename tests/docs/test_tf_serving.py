"""The examples of docs/reference/tf-serving.md, sent to a real node."""

import re

import pytest
from tests.docs.blocks import blocks_of
from tests.docs.pages import fits, page, run_blocks
from tests.docs.test_http import parsed

from penstock.cli.folders.config_text import read_config

PAGE = "docs/reference/tf-serving.md"
EXAMPLES = [(body, line) for language, body, line in blocks_of(page(PAGE)) if language == "http"]


@pytest.mark.parametrize(("text", "line"), EXAMPLES, ids=[f"line {line}" for _, line in EXAMPLES])
def test_the_example_is_what_a_node_answers(node, text, line):
    (method, path, headers, body), (status, expected, answer) = parsed(text)
    got_status, got, got_body = node.request(method, path, body.encode() or None, headers)
    assert got_status == status
    assert {name: got.get(name) for name in expected} == expected
    assert fits(answer, got_body.decode()), got_body.decode()


def test_every_address_of_the_table_exists(node):
    rows = re.findall(r"^\| `(/.*?)` \| (GET|POST) \|", page(PAGE), re.MULTILINE)
    assert len(rows) == 5
    for address, method in rows:
        for model in ("churn", "churn/versions/7", "churn/labels/main"):
            path = address.replace("{endpoint}", model)
            assert node.request(method, path, b"{}" if method == "POST" else None)[0] == (
                400 if method == "POST" else 200
            )
            assert node.request("GET" if method == "POST" else "POST", path, b"{}")[0] == 405


def test_the_recipe_is_what_happens(tmp_path):
    assert len(run_blocks("docs/guide/from-tf-serving.md", tmp_path)) == 3


def test_the_config_file_of_the_recipe_is_read():
    text = next(body for _, body, _ in blocks_of(page("docs/guide/from-tf-serving.md")) if "model_config_list" in body)
    (model,) = read_config(text)
    assert model.policy.versions == (1, 2)
    assert model.labels == {"stable": 1, "canary": 2}
