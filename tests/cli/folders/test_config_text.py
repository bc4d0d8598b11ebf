"""TensorFlow Serving's model config file."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.cli.folders.config_text import read_config
from penstock.cli.folders.policy import ModelFolder, Policy
from penstock.core.errors import InvalidInput

WHOLE = r"""
# Two models, as its documentation has them.
model_config_list {
  config {
    name: 'first'  # quotes of either kind
    base_path: "/models/" "fir\x73t"
    model_platform: "tensorflow"
    model_version_policy { specific { versions: 1 versions: 2 } }
    version_labels { key: 'stable' value: 1 }
    version_labels: { key: "canary", value: 2 };
  }
  config: <
    name: "second", base_path: "relative/\'path\101"
    model_version_policy: { latest: { num_versions: 3 } }
  >
  config { name: "third" base_path: "/third" model_version_policy { all {} } }
  config { name: "fourth" base_path: "/fourth" model_version_policy { specific { versions: [4, 5] } } }
  config { name: "fifth" base_path: "/fifth" model_type: TENSORFLOW model_version_policy { latest { } } }
}
"""


def test_a_whole_file():
    assert read_config(WHOLE) == (
        ModelFolder(
            name="first", base_path="/models/first", policy=Policy(kind="specific", versions=(1, 2)),
            labels={"stable": 1, "canary": 2},
        ),
        ModelFolder(name="second", base_path="relative/'pathA", policy=Policy(count=3)),
        ModelFolder(name="third", base_path="/third", policy=Policy(kind="all")),
        ModelFolder(name="fourth", base_path="/fourth", policy=Policy(kind="specific", versions=(4, 5))),
        ModelFolder(name="fifth", base_path="/fifth"),
    )  # fmt: skip


def config(inside):
    return f"model_config_list {{ config {{ {inside} }} }}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "needs a config"),
        ("model_config_list { }", "needs a config"),
        ("custom_model_config { }", "'custom_model_config'"),
        (config('name: "m"'), "base_path"),
        (config('name: "m" base_path: "gs://bucket/m"'), "gs://bucket/m"),
        (config('name: "m" name: "n" base_path: "/m"'), "name stands 2 times"),
        (config('name: 7 base_path: "/m"'), "name is of another kind"),
        (config('name: "m" base_path: "/m" logging_config { }'), "'logging_config'"),
        (config('name: "m" base_path: "/m" model_version_policy { latest { num_versions: 0 } }'), "num_versions is 0"),
        (config('name: "m" base_path: "/m" model_version_policy { specific { } }'), "names no versions"),
        (config('name: "m" base_path: "/m" model_version_policy { all { } latest { } }'), "more than one"),
        (config('name: "m" base_path: "/m" model_version_policy { newest { } }'), "'newest'"),
        (config('name: "m" base_path: "/m" model_version_policy: 3'), "another kind"),
        ("\n\nmodel_config_list }", "line 3"),
        ("model_config_list {", "line 1"),
        ("model_config_list { config < }", "'}'"),
        ('x: "unended', "unended"),
        ("x: [1 2]", "2]"),
        ("x 3", "3"),
        ("x: ^", "^"),
        ("a {" * 5000, "line 1"),
        ("x: " + "9" * 5000, "999"),
    ],
)
def test_what_is_refused_and_where(text, said):
    with pytest.raises(InvalidInput) as refusal:
        read_config(text)
    assert refusal.value.code == "invalid-model-config"
    assert said in str(refusal.value)


def test_two_models_of_one_name():
    one = 'config { name: "m" base_path: "/m" }'
    with pytest.raises(InvalidInput):
        read_config(f"model_config_list {{ {one} {one} }}")


def test_names_are_names():
    with pytest.raises(InvalidInput) as refusal:
        read_config(config('name: "a/b" base_path: "/m"'))
    assert refusal.value.code == "invalid-name"


PIECES = st.sampled_from(
    [*"{}<>:;,[]#\n", ' "', "' ", "\\", "model_config_list", "config", 'name: "m"', "1", "-", "latest"]
)


@given(st.text(max_size=60) | st.lists(PIECES, max_size=20).map(" ".join))
def test_no_text_makes_reading_fail_in_another_way(text):
    with contextlib.suppress(InvalidInput):
        read_config(text)


def test_a_banner_of_hashes_before_a_mistake_is_read_at_once():
    with pytest.raises(InvalidInput):
        read_config("#" * 5000 + "\n@")
    with pytest.raises(InvalidInput, match="no folder"):
        read_config('model_config_list { config { name: "m" base_path: "/x\\000y" } }')
