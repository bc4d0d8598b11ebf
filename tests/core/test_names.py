"""Names and references that people type."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.core.names import VersionRef, check_name, parse_version_ref


@pytest.mark.parametrize("name", ["", "-a", "a-", "a b", "a/b", "a\n", "ä", "a" * 129, "../a", ".", "a:b", 'a"b'])
def test_bad_names(name):
    with pytest.raises(InvalidInput) as refusal:
        check_name(name)
    assert refusal.value.code == "invalid-name"


@pytest.mark.parametrize(
    "text", ["churn/", "churn/0", "churn/-1", "churn/x", "churn/1/2", "churn/¹", "churn@", "@a", "/1"]
)
def test_bad_references(text):
    with pytest.raises(InvalidInput):
        parse_version_ref(text)


@given(st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,20}[A-Za-z0-9])?", fullmatch=True), st.integers(1, 10**6))
def test_references_read_as_they_are_written(name, number):
    for ref in (VersionRef(name), VersionRef(name, number=number), VersionRef(name, alias=name)):
        assert parse_version_ref(str(ref)) == ref
