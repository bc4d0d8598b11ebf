"""Requests and answers written in a page, and whether a real node answers as the page says."""

import re

import pytest
from tests.docs.blocks import blocks_of
from tests.docs.pages import fits, page


def examples_of(name):
    """A parameter for each example of a page: its text."""
    found = [(body, line) for language, body, line in blocks_of(page(name)) if language == "http"]
    return [pytest.param(body, id=f"line {line}") for body, line in found]


def parsed(text):
    """(method, path, headers, body), (status, headers, body): the status stands alone on a line, blank lines around."""
    request, status, answer = re.split(r"^(\d{3})\n", text, maxsplit=1, flags=re.MULTILINE)
    first, _, rest = request.partition("\n")
    return (*first.split(), *_message(rest)), (int(status), *_message(answer))


def _message(text):
    head, _, body = text.partition("\n") if text.startswith("\n") else text.partition("\n\n")
    return dict(line.split(": ", 1) for line in head.splitlines()), body.strip()


def answered_as_said(node, text):
    """Send an example to a node and hold its answer against what the example says."""
    (method, path, headers, body), (status, expected, answer) = parsed(text)
    got_status, got, got_body = node.request(method, path, body.encode() or None, headers)
    assert got_status == status
    assert {name: got.get(name) for name in expected} == expected
    assert fits(answer, got_body.decode()), got_body.decode()
