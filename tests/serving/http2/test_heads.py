"""Header blocks that were read before mean the same as those that are read anew."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings, strategies
from tests.serving.http2.hosts import FIELDS

from penstock.serving.http2.frames import Http2Error, literal
from penstock.serving.http2.heads import Heads, well_formed

names = strategies.sampled_from([b"a", b"user", b"x-request-id", b"traceparent"])
values = strategies.sampled_from([b"", b"1", b"2", b"v" * 300, b"w" * 3000])
# Of these every field is in the static table: blocks of two requests may then have the same bytes.
STATIC = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/")]
requests = strategies.lists(
    strategies.tuples(
        strategies.sampled_from([FIELDS, STATIC]),
        strategies.lists(strategies.tuples(names, values, strategies.booleans()), max_size=4),
                      strategies.sampled_from([None, None, None, 0, 100, 4096])),
    max_size=30,
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(requests)
def test_any_blocks_in_any_order(sent):
    encoder, reference, heads = Encoder(), Decoder(), Heads(list, 65_536)
    for request, fields, table_bytes in sent:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        block = encoder.encode([(name, value, False) for name, value in request] + fields)
        expected = [(bytes(name), bytes(value)) for name, value in reference.decode(block, raw=True)]
        assert heads.read(block) == expected


def test_what_is_sent_again_is_understood_once():
    understood = []
    heads = Heads(understood.append, 65_536)
    encoder = Encoder()
    for _ in range(5):
        heads.read(encoder.encode(FIELDS))
    # The first block fills the table, the second one is made of it.
    assert len(understood) == 2
    plain = b"".join(literal(name, value) for name, value in FIELDS)
    for _ in range(5):
        heads.read(plain)
    assert len(understood) == 3


def test_the_same_bytes_mean_something_else_after_the_table_has_changed():
    heads, encoder = Heads(list, 65_536), Encoder()
    blocks = []
    for value in (b"1", b"1", b"2", b"2"):
        blocks.append(encoder.encode([*STATIC, (b"a", value)]))
        assert heads.read(blocks[-1])[-1] == (b"a", value)
    assert blocks[1] == blocks[3]


def test_a_bomb_is_not_unfolded():
    encoder = Encoder()
    encoder.encode([(b"a", b"v" * 4000)])
    bomb = encoder.encode([(b"a", b"v" * 4000)] * 1)
    heads = Heads(dict, 65_536)
    heads.read(Encoder().encode([(b"a", b"v" * 4000)]))
    with pytest.raises(Http2Error):
        heads.read(bomb * 100)


@pytest.mark.parametrize(
    "fields",
    [
        FIELDS[1:],
        [*FIELDS, (b":path", b"/")],
        [(b"a", b"b"), *FIELDS],
        [*FIELDS, (b":status", b"200")],
        [*FIELDS, (b"", b"x")],
        [*FIELDS, (b"a b", b"x")],
        [*FIELDS, (b"\xc3\xa4", b"x")],
        [*FIELDS, (b"a", b" x")],
        [*FIELDS, (b"a", b"x\0")],
        [*FIELDS, (b"a", b"x\n")],
        [*FIELDS, (b"connection", b"close")],
        [*FIELDS, (b"te", b"gzip")],
        [*FIELDS[:2], (b":path", b"")],
    ],
)
def test_what_is_no_head(fields):
    assert well_formed(FIELDS)
    assert not well_formed(fields)
