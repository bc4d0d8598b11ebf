"""Compressed bodies are refused by name, not called bad JSON."""

import pytest

from penstock.core.errors import UnsupportedMedia
from penstock.protocols.encodings import refuse_encoding
from penstock.protocols.problems import headers_of, status_of


@pytest.mark.parametrize("value", [b"", b"identity", b"Identity", b" identity , ", b","])
def test_what_leaves_the_body_as_it_is(value):
    refuse_encoding(value)


@pytest.mark.parametrize(
    "value", [b"gzip", b"GZIP", b"deflate", b"br", b"zstd", b"identity, gzip", b"\xff" * 1000, b"none"]
)
def test_anything_else_is_refused_and_the_answer_names_what_is_taken(value):
    with pytest.raises(UnsupportedMedia, match="identity") as refusal:
        refuse_encoding(value)
    assert (refusal.value.code, status_of(refusal.value)) == ("unsupported-encoding", 415)
    assert headers_of(refusal.value) == {"accept-encoding": "identity"}
    assert len(refusal.value.message) < 200
