"""penstock.yaml: what it may say, and how each fault is told."""

import itertools
import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.control.cron import check_cron
from penstock.control.meaning import arms_of, shares
from penstock.control.reading import read_spec, read_spec_file
from penstock.control.spec import ArmSpec, EndpointSpec
from penstock.core.errors import InvalidInput, NotFound, PenstockError, Unsupported
from penstock.core.names import VersionRef

WHOLE = """
version: 1
models:
  churn: {bundle: churn.penstock, aliases: {challenger: bundle, champion: 7}}
endpoints:
  churn:
    arms:
      - {name: stable, model: churn@champion, weight: 90}
      - {name: new, model: churn@challenger, weight: 10}
    limits: {deadline_ms: 50, max_batch_rows: 32}
    isolation: inline
    cache: {ttl_s: 10}
    recording: {sample: 0.5, fields: {age: hash}}
    gates: {budget: false, robustness: {max_flips: 0.2}}
  fraud: {model: fraud/3}
gates: {quality: {data: held.csv, target: left, metrics: {roc_auc: {min: 0.8}}}}
schedules: {nightly: {cron: "0 3 * * *", what: compact-log}}
protected_aliases: [champion]
access: {required: true}
"""


def test_the_whole_of_a_spec_is_read():
    found = read_spec(WHOLE)
    assert found.models["churn"].aliases == {"challenger": "bundle", "champion": 7}
    assert found.endpoints["churn"].limits.deadline_ms == 50
    assert found.endpoints["churn"].recording.fields == {"age": "hash"}
    assert found.endpoints["churn"].gates.robustness.max_flips == 0.2
    assert found.gates.quality.metrics["roc_auc"].min == 0.8
    assert found.access.required and found.protected_aliases == ("champion",)


def test_what_was_read_is_read_again_from_its_own_json():
    found = read_spec(WHOLE)
    assert read_spec(msgspec.json.encode(found).decode()) == found


FAULTS = {
    "[]": "an object was expected",
    "endpoints: {}": "version: None is not 1",
    "version: '1'": "version: '1' is not 1",
    "version: true": "version: True is not 1",
    "version: 1\nendpionts: {}": "endpionts: unknown field; did you mean endpoints?",
    "version: 1\nendpoints: {churn: {arms: [{model: churn, weihgt: 100}]}}": (
        "endpoints.churn.arms[0].weihgt: unknown field; did you mean weight?"
    ),
    "version: 1\nendpoints: {churn: {arms: [{weight: 100}]}}": "endpoints.churn.arms[0].model: missing",
    "version: 1\nendpoints: {churn: {model: churn, limits: {deadline: 5}}}": (
        "endpoints.churn.limits.deadline: unknown field; did you mean deadline_ms?"
    ),
    "version: 1\nendpoints: {churn: {model: churn, limits: {deadline_ms: fast}}}": (
        "endpoints.churn.limits.deadline_ms: Expected `float`, got `str`"
    ),
    "version: 1\nendpoints: {churn: {model: churn, gates: {budget: {single: 1}}}}": (
        "endpoints.churn.gates.budget.single: unknown field; did you mean single_ms?"
    ),
    "version: 1\nendpoints: {churn: {}}": "endpoints.churn: give either model or arms",
    "version: 1\nendpoints: {churn: {arms: []}}": "endpoints.churn: give either model or arms",
    "version: 1\nendpoints: {churn: {model: churn, arms: [{model: churn}]}}": "give either model or arms",
    "version: 1\nendpoints: {churn: [1]}": "endpoints.churn: an object was expected",
    "version: 1\nendpoints: {churn: {arms: [{model: a, weight: 50}, {model: b, weight: 49}]}}": "sum to 99",
    "version: 1\nendpoints: {churn: {arms: [{model: a, weight: 150}, {model: b, weight: -50}]}}": "0 or more each",
    "version: 1\nendpoints: {churn: {arms: [{model: a, weight: 50}, {model: b}]}}": "of several needs a weight",
    "version: 1\nendpoints: {churn: {arms: [{model: a, weight: 99.999}, {model: b, weight: 0.001}]}}": "finer than",
    "version: 1\nendpoints: {churn: {arms: [{name: x, model: a, weight: 50}, {name: x, model: b, weight: 50}]}}": (
        "'x' is the name of two arms"
    ),
    "version: 1\nmodels: {churn: {aliases: {champion: bundle}}}": "there is no bundle",
    "version: 1\nmodels: {churn: {aliases: {champion: 0}}}": "0 is no version number",
    "version: 1\nmodels: {churn: {aliases: {champion: newest}}}": "models.churn.aliases.champion: Invalid enum value",
    "version: 1\ngates: {quality: {data: a, target: b, metrics: {}}}": "length >= 1",
}


@pytest.mark.parametrize("text", FAULTS)
def test_every_fault_says_where_it_is(text):
    with pytest.raises(InvalidInput) as caught:
        read_spec(text)
    assert caught.value.code == "invalid-spec"
    assert FAULTS[text] in str(caught.value)
    assert str(caught.value).startswith("penstock.yaml: ")


@pytest.mark.parametrize("name", ["monitors"])
def test_what_is_not_there_yet_is_refused_by_name(name):
    with pytest.raises(Unsupported, match="does not have them") as caught:
        read_spec(f"version: 1\n{name}: {{}}")
    assert (caught.value.code, name in str(caught.value)) == ("unsupported-field", True)


def test_a_newer_file_is_told_as_newer_whatever_else_it_holds():
    with pytest.raises(InvalidInput) as caught:
        read_spec("{version: 2, canaries: {}}")
    assert caught.value.code == "newer-format"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("version: 1\nendpoints: {../etc: {model: churn}}", "invalid-name"),
        ("version: 1\nendpoints: {churn: {model: churn/0}}", "invalid-version"),
        ("version: 1\nendpoints: {churn: {model: 'churn@'}}", "invalid-name"),
        ("version: 1\nprotected_aliases: ['a b']", "invalid-name"),
        ("version: 1\nschedules: {nightly: {cron: '61 * * * *', what: check}}", "invalid-cron"),
        ("a: &a [1]\nb: *a", "invalid-yaml"),
        ("version: 1\nversion: 1", "invalid-yaml"),
        ("!!python/object/apply:os.system ['true']", "invalid-yaml"),
        ("version: 1 #" + "x" * 2**20, "invalid-yaml"),
        ("[" * 70, "invalid-yaml"),
    ],
)
def test_hostile_and_wrong_texts_have_their_code(text, code):
    with pytest.raises(InvalidInput) as caught:
        read_spec(text)
    assert caught.value.code == code


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(NotFound, match="unknown-file"):
        read_spec_file(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"version: 1 # \xff")
    with pytest.raises(InvalidInput, match="not UTF-8"):
        read_spec_file(tmp_path / "latin.yaml")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 10_001) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["version", "endpoints", "models", "arms", "model", "weight", "gates", "churn", "x"]), inner
        )
    ),
    max_leaves=12,
)


@given(json_values)
def test_no_value_ends_in_anything_but_a_spec_or_an_error(value):
    text = json.dumps({"version": 1, **value} if isinstance(value, dict) else value)
    try:
        read_spec(text)
    except PenstockError as error:
        assert error.code.startswith(("invalid-", "newer-"))


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=6))
def test_shares_always_sum_to_the_whole_and_are_what_was_written(cuts):
    bounds = [0, *sorted(cuts), 10_000]
    exact = [b - a for a, b in itertools.pairwise(bounds)]
    assert shares([float(weight) for weight in exact], "x") == exact
    assert shares([float(Decimal(weight) / 100) for weight in exact], "x") == exact


def test_arms_have_names_of_their_own():
    arms = arms_of(EndpointSpec(arms=(ArmSpec(model="a@b", weight=60), ArmSpec(model="a/7", weight=40))), "x")
    assert arms == [("b", VersionRef("a", alias="b"), 6000), ("", VersionRef("a", number=7), 4000)]
    assert arms_of(EndpointSpec(model="a"), "x") == [("main", VersionRef("a"), 10_000)]


@pytest.mark.parametrize("text", ["* * * * *", "0 3 1,15 * *", "*/5 9-17/2 * 1-6 0", "59 23 31 12 7"])
def test_schedules_that_can_be(text):
    check_cron(text, "x")


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "60 * * * *", "* 24 * * *", "* * 0 * *", "5-1 * * * *", "*/0 * * * *", "a * * * *", "٣ * * * *"],
)
def test_schedules_that_cannot_be(text):
    with pytest.raises(InvalidInput, match="invalid-cron"):
        check_cron(text, "x")
