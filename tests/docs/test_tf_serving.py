"""The examples of docs/reference/tf-serving.md, sent to a real node."""

import re

import pytest
from tests.docs.blocks import blocks_of
from tests.docs.http_examples import answered_as_said, examples_of
from tests.docs.pages import page, run_blocks

from penstock.cli.folders.config_text import read_config

PAGE = "docs/reference/tf-serving.md"


@pytest.mark.parametrize("text", examples_of(PAGE))
def test_the_example_is_what_a_node_answers(node, text):
    answered_as_said(node, text)


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
