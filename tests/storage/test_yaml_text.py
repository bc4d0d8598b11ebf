"""YAML read as JSON: what is taken, what means one thing only, and what is refused with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.errors import InvalidInput
from penstock.storage.yaml_text import DEEPEST, MOST_BYTES, read_yaml


def refusal(text):
    with pytest.raises(InvalidInput) as caught:
        read_yaml(text, "p.yaml")
    assert caught.value.code == "invalid-yaml"
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing", None),
        ("a:", {"a": None}),
        ("a: [1, -2, 1.5, 1e3, .5, true, null, ~]", {"a": [1, -2, 1.5, 1000.0, 0.5, True, None, None]}),
        ("no: no\non: off\ny: yes", {"no": "no", "on": "off", "y": "yes"}),
        ("at: 12:30:45\non: 2024-01-01\nv: 1_000", {"at": "12:30:45", "on": "2024-01-01", "v": "1_000"}),
        ("7: a\nnull: b\n0x1f: c", {"7": "a", "null": "b", "0x1f": "c"}),
        ("a: '7'\nb: \"null\"\nc: |\n  007\n", {"a": "7", "b": "null", "c": "007\n"}),
        ("- a\n- - b\n  - {c: d}", ["a", ["b", {"c": "d"}]]),
        ("a: {}\nb: []", {"a": {}, "b": []}),
        ("\ufeffa: 1", {"a": 1}),
        ("---\na: 1\n...\n", {"a": 1}),
        ("ключ: значение", {"ключ": "значение"}),
        ("<<: {a: 1}", {"<<": {"a": 1}}),
    ],
)
def test_plain_yaml_is_read_as_the_core_schema_says(text, value):
    assert read_yaml(text, "p.yaml") == value


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a: 1\nb: 2\na: 3", 3, "'a' stands twice, first in line 1"),
        ("x:\n  '7': 1\n  7: 2", 3, "'7' stands twice"),
        ("a: &x 1\nb: 2", 1, "anchors and aliases"),
        ("a: 1\nb: *x", 2, "anchors and aliases"),
        ("a: !!python/object/apply:os.system ['true']", 1, "the tag"),
        ("a: !!str 1", 1, "the tag"),
        ("a: ! x", 1, "the tag"),
        ("a: 1\n---\nb: 2", 2, "second document"),
        ("a:\n\t- b", 2, ""),
        ("a: [1, 2", 1, ""),
        ("a: b: c", 1, ""),
        ("a: .nan", 1, "no finite number"),
        ("a: -.inf", 1, "no finite number"),
        ("a: 1e999", 1, "no finite number"),
        ("a: 017", 1, "octal"),
        ("a: " + "9" * 40, 1, "40 digits"),
        ("? [a]\n: b", 1, "a key must be text"),
        ("? {a: b}\n: c", 1, "a key must be text"),
        ("a: \x00", 1, ""),
    ],
)
def test_what_could_mean_two_things_is_refused_with_its_line(text, line, what):
    said = refusal(text)
    assert what in said
    assert f"line {line}:" in said or not what


def test_a_bomb_of_aliases_is_refused_before_anything_is_built():
    laughs = "a: &a [lol]\n" + "".join(
        f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)
    )
    assert "anchors and aliases" in refusal(laughs)


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth_is_bounded(opening):
    closing = {"[": "]", "{a: ": "}", "- ": ""}[opening]
    inner = "{}" if opening == "{a: " else "x"
    read_yaml(opening * DEEPEST + inner.replace("{}", "x") + closing * DEEPEST, "p.yaml")
    assert f"deeper than {DEEPEST}" in refusal(opening * (DEEPEST + 1) + "x" + closing * (DEEPEST + 1))
    refusal(opening * 50_000)


def test_size_is_bounded_in_bytes():
    read_yaml("a: " + "x" * (MOST_BYTES - 3), "p.yaml")
    assert "more than" in refusal("a: " + "ж" * (MOST_BYTES // 2))


def test_text_that_utf_8_cannot_hold_is_refused():
    refusal("a: \ud800")


# YAML takes keys of at most 1 024 characters.
# JSON escapes what lies beyond the basic plane as two halves, which YAML does not put together again.
TEXT = st.text(st.characters(max_codepoint=0xFFFF, exclude_categories=["Cs"]), max_size=100)
NUMBERS = st.integers(-(10**17), 10**17) | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_json_is_yaml(value):
    assert read_yaml(json.dumps(value), "p.yaml") == value


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#%@`,? \n\t~01.e", max_size=40))
def test_any_text_gives_a_value_or_invalid_yaml(text):
    try:
        json.dumps(read_yaml(text, "p.yaml"), allow_nan=False)
    except InvalidInput as error:
        assert error.code == "invalid-yaml"
