"""docs/reference/api.md is what the application says of itself."""

import importlib.util

from tests.docs.pages import ROOT, page

from penstock.api.app import build_app


def test_the_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("api_page", ROOT / "docs/reference/api.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert page("docs/reference/api.md") == writer.page(), "run .venv/bin/python docs/reference/api.py"


def test_every_reference_of_the_openapi_document_leads_somewhere():
    whole = build_app(None).openapi()
    known, asked = set(whole["components"]["schemas"]), set()

    def walk(node):
        if isinstance(node, dict):
            if "$ref" in node:
                asked.add(node["$ref"].rpartition("/")[2])
            node = list(node.values())
        if isinstance(node, list):
            for inner in node:
                walk(inner)

    walk(whole)
    assert asked and asked <= known
