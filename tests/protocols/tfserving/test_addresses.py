"""The addresses, and the documents of the pages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.core.signature import Field, Signature
from penstock.protocols.address import ModelAddress
from penstock.protocols.tfserving.documents import VersionState, metadata, status
from penstock.serving.addresses import parse


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/v1/models/m", ModelAddress("m", None, "tf-status")),
        ("/v1/models/m/", ModelAddress("m", None, "tf-status")),
        ("/v1/models/m/versions/3", ModelAddress("m", "3", "tf-status")),
        ("/v1/models/m/labels/stable", ModelAddress("m", None, "tf-status", "stable")),
        ("/v1/models/metadata", ModelAddress("metadata", None, "tf-status")),
        ("/v1/models/m/metadata", ModelAddress("m", None, "tf-metadata")),
        ("/v1/models/m/versions/3/metadata", ModelAddress("m", "3", "tf-metadata")),
        ("/v1/models/m/labels/stable/metadata", ModelAddress("m", None, "tf-metadata", "stable")),
        ("/v1/models/m:predict", ModelAddress("m", None, "tf-predict")),
        ("/v1/models/m%3Apredict?x=1", ModelAddress("m", None, "tf-predict")),
        ("/v1/models/m/versions/3:classify", ModelAddress("m", "3", "tf-classify")),
        ("/v1/models/m/labels/stable%3aregress", ModelAddress("m", None, "tf-regress", "stable")),
    ],
)
def test_addresses(url, address):
    assert parse(url.encode()) == address


@pytest.mark.parametrize(
    "url",
    ["/v1", "/v1/models", "/v1/models/:predict", "/v1/models/m:explain", "/v1/models/m/versions", "/v1/models/m/x/3",
     "/v1/models/m/versions/:predict", "/v1/models/m/versions/3/labels/a", "/v1/models/metadata/metadata/metadata",
     "/v1/models/m:predict/versions/3/x"],
)  # fmt: skip
def test_what_is_no_model_s(url):
    assert parse(url.encode()) == url


@given(st.lists(st.sampled_from(["v1", "models", "m", "versions", "labels", "3:predict", ":", "", "metadata"])))
def test_every_path_is_an_address_or_none(parts):
    parse(("/v1/models/" + "/".join(parts)).encode())


def test_status():
    assert status([VersionState("3", "AVAILABLE"), VersionState("4", "END", "no model", "invalid")]) == {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}},
            {"version": "4", "state": "END", "status": {"error_code": "INVALID_ARGUMENT", "error_message": "no model"}},
        ]
    }  # fmt: skip


def test_metadata():
    x, y = Field(name="x", datatype="FP32", shape=(-1, 2)), Field(name="y", datatype="BYTES", shape=(-1,))
    document = metadata("m", "3", Signature(inputs=(x,), outputs=(y,), layout="tensors"))
    assert document["model_spec"] == {"name": "m", "signature_name": "", "version": "3"}
    definition = document["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert definition["method_name"] == "tensorflow/serving/predict"
    assert definition["inputs"]["x"] == {
        "dtype": "DT_FLOAT", "name": "x",
        "tensor_shape": {"dim": [{"size": "-1", "name": ""}, {"size": "2", "name": ""}], "unknown_rank": False},
    }  # fmt: skip
    assert definition["outputs"]["y"]["dtype"] == "DT_STRING"
