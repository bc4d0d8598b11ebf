"""Keys: form, digest, and that nothing tells whether an id exists."""

import ast
import contextlib
import inspect

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.digest import digest_of
from penstock.core.errors import Unauthenticated
from penstock.core.names import check_name
from penstock.core.routes import KeyEntry
from penstock.security import keys
from penstock.security.keys import matches, new_key, parse_key_id


def test_a_new_key_is_its_id_and_256_random_bits():
    made = [new_key() for _ in range(50)]
    assert len({text for text, _, _ in made}) == len({key_id for _, key_id, _ in made}) == 50
    for text, key_id, digest in made:
        assert text.startswith(f"pk_{key_id}_")
        assert len(text.removeprefix(f"pk_{key_id}_")) * 6 >= 256
        assert parse_key_id(text) == key_id == check_name(key_id)
        assert digest == digest_of(text.encode())
        # What goes into a route document.
        assert KeyEntry(digest=digest, subject="ana").digest == digest


def test_only_the_whole_key_matches():
    text, _, digest = new_key()
    assert matches(text, digest)
    for wrong in (text[:-1], text + "A", text.replace("pk_", "pk_0"), text.swapcase(), ""):
        assert not matches(wrong, digest)


@pytest.mark.parametrize(
    "text",
    ["", "pk_", "pk__" + 43 * "A", "pk_a_", "pk_a_" + 42 * "A", "pk_a_" + 43 * "A" + "\n", "PK_a_" + 43 * "A",
     "pk_a b_" + 43 * "A", "pk_a_" + 200 * "A", "pk_\xe9_" + 43 * "A", "eyJhbGciOiJub25lIn0.e30."],
)  # fmt: skip
def test_what_is_no_key_is_refused(text):
    with pytest.raises(Unauthenticated) as refused:
        parse_key_id(text)
    assert refused.value.code == "invalid-key"
    assert "pk_a" not in str(refused.value)


@given(st.text(max_size=120) | st.from_regex(r"pk_[a-z0-9_]{0,5}_[A-Za-z0-9_-]{40,50}"))
def test_any_text_is_an_id_or_refused(text):
    with contextlib.suppress(Unauthenticated):
        assert text.startswith(f"pk_{parse_key_id(text)}_")


def test_digests_are_compared_in_constant_time():
    """By structure: the only comparison in the function is hmac.compare_digest."""
    tree = ast.parse(inspect.getsource(keys.matches))
    called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert "hmac.compare_digest" in called
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Compare)]
