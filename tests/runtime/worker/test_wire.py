"""Messages survive any cutting, and nothing that is not one is taken for one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput, Overloaded, Refused
from penstock.core.frames import decode_frame
from penstock.runtime.worker.wire import MAX_BYTES, Messages, fault_of, message, socket_path


@given(st.lists(st.binary(max_size=300), max_size=6), st.data())
def test_any_cutting_gives_the_same_frames(bodies, data):
    stream = b"".join(len(body).to_bytes(4, "little") + body for body in bodies)
    messages, frames = Messages(), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        frames += [bytes(frame) for frame in messages.feed(stream[:size])]
        stream = stream[size:]
    assert frames == bodies


def test_a_message_holds_its_tensors_and_meta():
    words = np.array(["a", None], object)
    (frame,) = Messages().feed(message({"x": np.eye(2, dtype=np.float32), "w": words}, {"call": 3}))
    tensors, meta = decode_frame(frame)
    np.testing.assert_array_equal(tensors["x"], np.eye(2))
    assert tensors["w"].tolist() == ["a", None] and meta == {"call": 3}


def test_a_length_nobody_may_send_is_refused():
    with pytest.raises(InvalidInput, match="message-too-large"):
        Messages().feed(MAX_BYTES.to_bytes(4, "little"))


@pytest.mark.parametrize("error", [Refused("a-code", "words", hint="do this"), Overloaded("full", "no room")])
def test_an_error_arrives_as_it_left(error):
    got = fault_of(error).to_error()
    assert type(got) is type(error) and str(got) == str(error)


def test_socket_paths_are_the_same_for_everybody(tmp_path):
    digest = "sha256:" + "ab" * 32
    assert socket_path(tmp_path, digest, 1) == socket_path(tmp_path, digest, 1) != socket_path(tmp_path, digest, 2)


def test_a_folder_too_long_for_a_socket_is_named(tmp_path):
    with pytest.raises(InvalidInput, match="run-directory-too-long"):
        socket_path(tmp_path / ("x" * 90), "sha256:" + "ab" * 32, 0)
