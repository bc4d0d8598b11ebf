"""OpenAI's own client, unmodified, against a real node."""

import base64
import json
import warnings

import numpy as np
import pytest
from onnx import helper
from tests.serving.bundles import onnx_bundle
from tests.serving.nodes import RunningNode, document, endpoint

from penstock.core.signature import Field, Signature

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import openai

WORDS = ["one", "two", "three"]


def embedding(directory, *, tokens=True):
    """A word's vector is `[n, n]`, n its number, 0 for any other word."""
    outputs = [Field(name="embedding", datatype="FP32", shape=(-1, 2))]
    nodes = [
        helper.make_node(
            "LabelEncoder", ["text"], ["number"], domain="ai.onnx.ml",
            keys_strings=WORDS, values_floats=[1.0, 2.0, 3.0], default_float=0.0,
        ),
        helper.make_node("Constant", [], ["axis"], value_ints=[1]),
        helper.make_node("Unsqueeze", ["number", "axis"], ["column"]),
        helper.make_node("Concat", ["column", "column"], ["embedding"], axis=1),
    ]  # fmt: skip
    if tokens:
        outputs.append(Field(name="tokens", datatype="INT64", shape=(-1,)))
        nodes.append(helper.make_node("Cast", ["number"], ["tokens"], to=7))
    signature = Signature(
        inputs=(Field(name="text", datatype="BYTES", shape=(-1,)),), outputs=tuple(outputs), layout="tensors"
    )
    return onnx_bundle(directory, signature, nodes, {"text": np.array(WORDS, object)})


@pytest.fixture(scope="module")
def node(tmp_path_factory, summing_1):
    folder = tmp_path_factory.mktemp("openai")
    running = RunningNode(folder / "node")
    bare = embedding(folder / "bare", tokens=False)
    running.publish(
        document(1, words=endpoint(embedding(folder / "words")), bare=endpoint(bare), sum=endpoint(summing_1))
    )
    running.start()
    yield running
    assert running.stop() == 0
    assert not running.events("internal-error")


@pytest.fixture(params=["/v1", "/openai/v1"])
def client(request, node):
    with openai.OpenAI(base_url=f"http://127.0.0.1:{node.port}{request.param}", api_key="none", max_retries=0) as found:
        yield found


def test_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["bare", "sum", "words"]
    assert client.models.retrieve("words").object == "model"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("none")


@pytest.mark.parametrize("form", ["float", "base64", openai.NOT_GIVEN])
def test_texts_become_vectors_in_their_order(client, form):
    answer = client.embeddings.create(model="words", input=["three", "one", "zero"], encoding_format=form)
    found = [one.embedding for one in answer.data]
    if form == "base64":
        found = [np.frombuffer(base64.b64decode(one), "<f4").tolist() for one in found]
    assert found == [[3.0, 3.0], [1.0, 1.0], [0.0, 0.0]]
    assert [one.index for one in answer.data] == [0, 1, 2]
    assert (answer.model, answer.usage.prompt_tokens, answer.usage.total_tokens) == ("words", 4, 4)
    assert client.embeddings.create(model="words", input="two", dimensions=2).data[0].embedding == [2.0, 2.0]
    assert client.embeddings.create(model="bare", input="two").usage.total_tokens == 0


@pytest.mark.parametrize(
    ("wish", "error", "code"),
    [
        ({"model": "none", "input": "a"}, openai.NotFoundError, "unknown-endpoint"),
        ({"model": "sum", "input": "a"}, openai.BadRequestError, "no-embeddings"),
        ({"model": "words", "input": []}, openai.BadRequestError, "invalid-texts"),
        ({"model": "words", "input": ""}, openai.BadRequestError, "invalid-texts"),
        ({"model": "words", "input": [[1, 2]]}, openai.BadRequestError, "invalid-texts"),
        ({"model": "words", "input": [1, 2]}, openai.BadRequestError, "invalid-texts"),
        ({"model": "words", "input": ["a"] * 2049}, openai.BadRequestError, "invalid-texts"),
        ({"model": "words", "input": "a", "dimensions": 5}, openai.BadRequestError, "wrong-dimensions"),
    ],
)
def test_what_is_refused_comes_in_the_client_s_own_form(client, wish, error, code):
    with pytest.raises(error) as raised:
        client.embeddings.create(**wish)
    assert (raised.value.body["code"], raised.value.body["type"].endswith("_error")) == (code, True)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"input": "a"}', b'{"model": 5, "input": "a"}', b"[" * 100_000, b"x"]
)
def test_no_body_is_a_failure_of_ours(node, body):
    status, _, answer = node.request("POST", "/v1/embeddings", body)
    assert status == 400
    error = json.loads(answer)["error"]
    if body == b'{"input": "a"}':
        assert error["code"] == "no-default-endpoint"
        assert "the body names no model" in error["message"] and "as `model` in the body" in error["message"]
    else:
        assert error["code"] == "invalid-json"


def test_null_is_as_if_the_field_were_absent(node):
    body = {"model": "words", "input": "two", "encoding_format": None, "dimensions": None, "user": None}
    status, _, answer = node.post("/v1/embeddings", body)
    assert (status, answer["data"][0]["embedding"]) == (200, [2.0, 2.0])
    for wrong in ({"model": "words", "input": None}, {**body, "user": 5}, {**body, "encoding_format": "hex"}):
        status, _, answer = node.post("/v1/embeddings", wrong)
        assert (status, answer["error"]["code"]) == (400, "invalid-json")


def test_another_method_and_another_address(node):
    assert node.request("GET", "/v1/embeddings")[0] == 405
    assert node.request("POST", "/v1/models", b"{}")[0] == 405
    assert node.request("POST", "/openai/v2/embeddings", b"{}")[0] == 404
