"""The examples of docs/reference/http.md, sent to a real node."""

import re

import pytest
from tests.docs.http_examples import answered_as_said, examples_of
from tests.docs.pages import SOURCE, page

from penstock.protocols.problems import STATUS
from penstock.serving.http.message import PHRASES

PAGE = "docs/reference/http.md"


@pytest.mark.parametrize("text", examples_of(PAGE))
def test_the_example_is_what_a_node_answers(node, text):
    answered_as_said(node, text)


def test_every_address_of_the_table_exists(node):
    rows = re.findall(r"^\| (`/.*?) \| (GET|POST) \|", page(PAGE), re.MULTILINE)
    assert len(rows) == 22
    for addresses, method in rows:
        for address in re.findall(r"`([^`]+)`", addresses):
            path = address.replace("{endpoint}", "churn").replace("{version}", "7")
            status, headers, _ = node.request(method, path, b"{}" if method == "POST" else None)
            if path.startswith("/v2/repository/"):
                assert status == (200 if path.endswith("/index") else 403), address
            else:
                assert status == (400 if method == "POST" else 200), address
            other = "GET" if method == "POST" else "POST"
            status, headers, _ = node.request(other, path, b"{}")
            assert (status, headers.get("allow")) == (405, "POST" if method == "POST" else "GET, HEAD"), address


def test_the_status_table_is_the_code_s():
    rows = re.findall(r"^\| (\d{3}) \| ([a-z, -]*) \|", page(PAGE), re.MULTILINE)
    said = {kind: int(status) for status, kinds in rows for kind in kinds.split(", ") if int(status) not in (408, 431)}
    assert said == STATUS
    # Those a node answers without a failure of one of the kinds, or with another status than the kind's.
    assert {int(status) for status, _ in rows} | {200} == set(PHRASES)
    assert "\n| 200 | | " in page(PAGE)


def test_the_headers_are_all_the_node_knows():
    sources = [SOURCE / "serving/flow.py", SOURCE / "serving/state.py", SOURCE / "serving/arms.py"]
    text = "".join(path.read_text() for path in sources)
    read = set(re.findall(r'headers\.get\(b"([a-z-]+)"\)', text))
    written = set(re.findall(r"(penstock-[a-z]+|x-request-id|traceparent): [{%]", text))
    said = set(re.findall(r"^\| `([a-z0-9-]+)[`:]", page(PAGE), re.MULTILINE))
    assert read and written and read | written <= said
