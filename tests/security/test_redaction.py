"""Hashes instead of values: stable, keyed, shaped as what they stand for; the salt is made once."""

import stat
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.tensors import DTYPES
from penstock.security.redaction import hash_value, hashed, load_salt

SALT, OTHER = 32 * b"a", 32 * b"b"


def test_the_salt_is_made_once_for_its_owner_alone(tmp_path):
    path = tmp_path / "salt"
    first = load_salt(path)
    assert len(first) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_salt(path) == first
    assert [file.name for file in tmp_path.iterdir()] == ["salt"]


def test_many_who_find_no_salt_agree_on_one(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(load_salt, [tmp_path / "salt"] * 32))) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["salt"]


@pytest.mark.parametrize("data", [b"", b"short", 33 * b"x"])
def test_a_damaged_salt_is_not_replaced(tmp_path, data):
    path = tmp_path / "salt"
    path.write_bytes(data)
    with pytest.raises(InvalidInput) as refused:
        load_salt(path)
    assert refused.value.code == "damaged-salt"
    assert str(path) in str(refused.value)
    assert path.read_bytes() == data


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_datatype_is_hashed_in_its_shape(dtype):
    values = np.array([[0, 1, 0], [1, 1, 0]]).astype(dtype)
    out = hashed(values, SALT)
    assert out.shape == (2, 3)
    assert {type(value) for value in out.flat} == {str}
    assert (out == np.where(values.astype(bool), out[0, 1], out[0, 0])).all()
    assert out[0, 0] != out[0, 1]
    assert not set(out.flat) & set(hashed(values, OTHER).flat)


def test_text_bytes_and_missing_values():
    out = hashed(np.array(["Ana", b"Ana", None, "ana"], object), SALT)
    assert out[0] == out[1] == hash_value(b"Ana", SALT) != out[3]
    assert out[2] is None
    assert hashed(np.array([], object), SALT).shape == (0,)
    assert hashed(np.array("Ana", object), SALT).shape == ()


def test_equal_numbers_have_equal_hashes():
    zero = hashed(np.array([-0.0]), SALT)[0]
    assert zero == hashed(np.array([0.0]), SALT)[0] == hashed(np.array([0.0, -0.0]), SALT)[1]
    assert hashed(np.array([7], np.int8), SALT)[0] == hashed(np.array([7], np.uint64), SALT)[0]
    assert hashed(np.array([np.nan, np.nan]), SALT)[0] == hashed(np.array([np.nan]), SALT)[0]


@given(st.lists(st.text(max_size=20) | st.none(), max_size=30))
def test_nothing_of_a_value_is_in_its_hash_but_whether_it_is_equal(values):
    out = hashed(np.array([*values, None], object), SALT)[:-1]
    for one, hash_one in zip(values, out, strict=True):
        assert (one is None) == (hash_one is None)
        assert hash_one is None or (len(hash_one) == 32 and set(hash_one) <= set("0123456789abcdef"))
        for other, hash_other in zip(values, out, strict=True):
            assert (one == other) == (hash_one == hash_other)
