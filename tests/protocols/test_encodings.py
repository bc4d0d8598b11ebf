"""Compressed bodies: undone exactly, never beyond the limit, and refused by name where the coding is not known."""

import contextlib
import gzip
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput, PenstockError, TooLarge, UnsupportedMedia
from penstock.protocols.encodings import SMALLEST_PACKED_BYTES, packed, undone
from penstock.protocols.problems import headers_of, status_of

BODY = b"0123456789" * 20


def bare(data):
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


# Without the time: what is a parameter of a test must be the same in every process that collects it.
ZIPPED = gzip.compress(BODY, mtime=0)
PACKERS = {b"gzip": gzip.compress, b"x-gzip": gzip.compress, b"deflate": zlib.compress}


@pytest.mark.parametrize("value", [b"", b"identity", b"Identity", b" identity , ", b","])
def test_what_leaves_the_body_as_it_is(value):
    assert undone(BODY, value, 1) == BODY


@given(st.binary(max_size=500), st.sampled_from([*PACKERS, b"GZIP", b" gzip, "]))
def test_every_body_comes_back(body, coding):
    packer = PACKERS[coding.strip(b" ,").lower()]
    assert undone(packer(body), coding, 500) == body


def test_bare_deflate_several_members_and_two_codings():
    assert undone(bare(BODY), b"deflate", 200) == BODY
    assert undone(gzip.compress(BODY[:50]) + gzip.compress(BODY[50:]), b"gzip", 200) == BODY
    assert undone(gzip.compress(zlib.compress(BODY)), b"deflate, gzip", 200) == BODY


@pytest.mark.parametrize("packer", [gzip.compress, zlib.compress, bare])
def test_a_bomb_is_undone_no_further_than_the_limit(packer):
    coding = b"gzip" if packer is gzip.compress else b"deflate"
    with pytest.raises(TooLarge):
        undone(packer(bytes(50 * 2**20)), coding, 1000)
    with pytest.raises(TooLarge):
        undone(packer(BODY), coding, len(BODY) - 1)
    assert undone(packer(BODY), coding, len(BODY)) == BODY


def test_many_members_do_not_lead_around_the_limit():
    with pytest.raises(TooLarge):
        undone(gzip.compress(BODY) * 5, b"gzip", len(BODY) * 4)


@pytest.mark.parametrize(
    ("body", "coding"),
    [
        (b"", b"gzip"), (BODY, b"gzip"), (ZIPPED[:-1], b"gzip"), (ZIPPED + b"x", b"gzip"),
        (zlib.compress(BODY)[:-1], b"deflate"), (zlib.compress(BODY) + b"x", b"deflate"), (b"\xff" * 9, b"deflate"),
    ],
)  # fmt: skip
def test_what_is_not_in_the_stated_coding(body, coding):
    with pytest.raises(InvalidInput) as refusal:
        undone(body, coding, 1000)
    assert refusal.value.code == "invalid-encoding"


@given(st.binary(max_size=60), st.sampled_from([b"gzip", b"deflate", b"gzip, gzip"]))
def test_no_bytes_fail_in_another_way(body, coding):
    with contextlib.suppress(PenstockError):
        undone(body, coding, 100)


@pytest.mark.parametrize("value", [b"br", b"zstd", b"identity, br", b"\xff" * 1000, b"none", b"gzip, gzip, gzip"])
def test_anything_else_is_refused_and_the_answer_names_what_is_taken(value):
    with pytest.raises(UnsupportedMedia, match="gzip") as refusal:
        undone(BODY, value, 1000)
    assert (refusal.value.code, status_of(refusal.value)) == ("unsupported-encoding", 415)
    assert headers_of(refusal.value) == {"accept-encoding": "gzip, deflate, identity"}
    assert len(refusal.value.message) < 200


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        (b"gzip", b"gzip"), (b"deflate, gzip;q=1.0", b"gzip"), (b"GZIP", b"gzip"), (b"gzip;q=0, deflate", b"deflate"),
        (b"br, deflate;q=0.5", b"deflate"), (b"", None), (b"identity", None), (b"br", None), (b"gzip; q=0.0", None),
        (b"xgzip", None),
    ],
)  # fmt: skip
def test_an_answer_is_packed_as_it_is_taken(accepted, coding):
    body = bytes(SMALLEST_PACKED_BYTES)
    found = packed(body, accepted)
    if coding is None:
        assert found is None
        return
    assert found[1] == b"content-encoding: %b\r\n" % coding
    assert undone(found[0], coding, len(body)) == body
    assert packed(body[1:], accepted) is None
