"""Random node cases of the `onnx` package: packed, served, asked over the wire, compared with ONNX's answers.

PENSTOCK_TEST_COUNT says how many (10 by default, 200 for the full proof); PENSTOCK_TEST_SEED which ones.
"""

import json
import os
import random
import warnings
from collections import Counter

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx.backend.test.loader import load_model_tests
from tests.serving.nodes import arm, document

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import PenstockError
from penstock.core.routes import Endpoint
from penstock.core.tensors import datatype_of, from_bytes, to_bytes
from penstock.pack import pack

COUNT = int(os.environ.get("PENSTOCK_TEST_COUNT", "10"))
SEED = int(os.environ.get("PENSTOCK_TEST_SEED", "20261"))


def usable_case(case):
    """(inputs, expected outputs) by name, or the reason why the protocol or ONNX Runtime has no place for it."""
    model = case.model
    graph = model.graph
    fixed = {tensor.name for tensor in graph.initializer}
    takes = [value for value in graph.input if value.name not in fixed]
    if not takes:
        return "takes no inputs"
    for value in (*takes, *graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            return "a sequence, map or optional value"
    given, answers = case.data_sets[0]
    if len(given) != len(takes) or len(answers) != len(graph.output):
        return "an optional input is left out"
    inputs = {value.name: np.asarray(array) for value, array in zip(takes, given, strict=True)}
    outputs = {value.name: np.asarray(array) for value, array in zip(graph.output, answers, strict=True)}
    try:
        for array in (*inputs.values(), *outputs.values()):
            datatype_of(array)
    except PenstockError:
        return "a datatype that the protocol has no name for"
    # The cases hold text as numpy's own; ONNX Runtime takes objects.
    inputs = {name: array.astype(object) if array.dtype.kind in "SU" else array for name, array in inputs.items()}
    if any(not array.size for array in inputs.values()):
        return "an input without elements"
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        got = dict(zip(outputs, session.run(list(outputs), inputs), strict=True))
    except Exception:  # ONNX Runtime has one exception class per status, with no common base to name
        return "ONNX Runtime cannot run it"
    if any(not same(outputs[name], got[name], case) for name in outputs):
        return "ONNX Runtime answers something else than ONNX"
    again = dict(zip(outputs, session.run(list(outputs), inputs), strict=True))
    if any(got[name].tobytes() != again[name].tobytes() for name in outputs if got[name].dtype.kind != "O"):
        return "not deterministic"
    return inputs, got


def same(expected, got, case):
    if expected.shape != got.shape or datatype_of(expected) != datatype_of(got):
        return False
    if expected.dtype.kind in "OSU":
        return [texts(v) for v in expected.ravel()] == [texts(v) for v in got.ravel()]
    return np.allclose(expected, got, rtol=max(case.rtol, 1e-3), atol=max(case.atol, 1e-5), equal_nan=True)


def texts(value):
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.fixture(scope="module")
def chosen(tmp_path_factory):
    """(case name, bundle, inputs, outputs) of each chosen case, and what was passed over, counted by reason."""
    folder = tmp_path_factory.mktemp("onnx-cases")
    with warnings.catch_warnings():
        # The generators of some cases overflow on purpose.
        warnings.simplefilter("ignore")
        cases = load_model_tests(kind="node")
    cases.sort(key=lambda case: case.name)
    random.Random(SEED).shuffle(cases)
    found, passed_over = [], Counter()
    for case in cases:
        if len(found) == COUNT:
            break
        usable = usable_case(case)
        if isinstance(usable, str):
            passed_over[usable] += 1
            continue
        inputs, outputs = usable
        sample = folder / f"{case.name}.npz"
        np.savez(sample, **{n: a.astype(str) if a.dtype.kind == "O" else a for n, a in inputs.items()})
        onnx.save(case.model, folder / f"{case.name}.onnx")
        try:
            packed = pack(folder / f"{case.name}.onnx", sample, name="case", out=folder / case.name)
        except PenstockError as error:
            passed_over[f"not packed: {error.code}: {case.name}: {error.message[:160]}"] += 1
            continue
        found.append((case, verify_directory(packed.path), inputs, outputs))
    return found, passed_over


@pytest.mark.timeout(60 + 4 * COUNT)
def test_cases_are_served_as_onnx_answers_them(chosen, make_node):
    found, passed_over = chosen
    print(f"{len(found)} cases; passed over: {json.dumps(passed_over, indent=1)}")
    assert len(found) == COUNT
    # Graphs with operators beyond ONNX's own run in processes: `make_node` has room for their sockets.
    node = make_node()
    routes = {f"case-{index}": Endpoint(arms=(arm(bundle, 1),)) for index, (_, bundle, _, _) in enumerate(found)}
    node.publish(document(1, **routes))
    node.start()
    wrong = [
        f"{case.name}: {problem}"
        for index, (case, _, inputs, outputs) in enumerate(found)
        for problem in asked(node, f"case-{index}", case, inputs, outputs)
    ]
    assert not wrong, "\n".join(wrong)
    # Refused when they were packed: the reasons are ours, so each kind has to be known.
    refused = [reason for reason in passed_over if reason.startswith("not packed")]
    assert len(refused) <= COUNT // 5, "\n".join(refused)


def asked(node, endpoint, case, inputs, outputs):
    """What is wrong with the answers to one case, asked in binary and, where every value is finite, in JSON."""
    for binary in (True, False):
        if not binary and not all(
            np.isfinite(a).all() for a in (*inputs.values(), *outputs.values()) if a.dtype.kind == "f"
        ):
            continue
        status, got = ask(node, endpoint, inputs, binary)
        if status != 200:
            yield f"{status} {got}"
            continue
        for name, expected in outputs.items():
            if not same(expected, got[name], case):
                yield f"{'binary' if binary else 'JSON'} output {name} differs"


def ask(node, endpoint, inputs, binary):
    tensors, blocks = [], []
    for name, array in inputs.items():
        tensor = {"name": name, "shape": list(array.shape), "datatype": datatype_of(array)}
        if binary:
            blocks.append(to_bytes(array))
            tensor["parameters"] = {"binary_data_size": len(blocks[-1])}
        else:
            tensor["data"] = [texts(v) if isinstance(v, bytes) else v for v in array.ravel().tolist()]
        tensors.append(tensor)
    head = json.dumps({"inputs": tensors, "parameters": {"binary_data_output": binary}}).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))} if binary else {}
    status, got, body = node.request("POST", f"/v2/models/{endpoint}/infer", head + b"".join(blocks), headers)
    if status != 200:
        return status, body[:300]
    size = int(got.get("inference-header-content-length", len(body)))
    document, rest, answers = json.loads(body[:size]), body[size:], {}
    for output in document["outputs"]:
        dtype, shape = output["datatype"], output["shape"]
        if "data" in output:
            flat = np.array(output["data"], object)
            answers[output["name"]] = flat.astype(from_bytes(b"", dtype, [0]).dtype).reshape(shape)
        else:
            length = output["parameters"]["binary_data_size"]
            answers[output["name"]] = from_bytes(rest[:length], dtype, shape)
            rest = rest[length:]
    return status, answers
