"""tritonclient's gRPC side, unmodified, and calls to any method by raw messages."""

import warnings

import grpc
import numpy as np
import tritonclient.grpc as triton
from tests.serving.nodes import LIMIT_S

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from tritonclient.grpc import service_pb2 as messages

INFER = "/inference.GRPCInferenceService/ModelInfer"
UNLIMITED = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def address(node):
    return f"127.0.0.1:{node.settings.grpc_port}"


def given(name, values, datatype="FP32"):
    tensor = triton.InferInput(name, list(values.shape), datatype)
    tensor.set_data_from_numpy(values)
    return tensor


def request(model="sum", *, values=((1, 2, 3, 4),), name="x", datatype="FP32", field="fp32_contents", **fields):
    """A ModelInferRequest with one input in a typed field."""
    array = np.array(values)
    made = messages.ModelInferRequest(model_name=model, **fields)
    tensor = made.inputs.add(name=name, datatype=datatype, shape=array.shape)
    getattr(tensor.contents, field).extend(array.ravel().tolist())
    return made


def call(channel, message, method=INFER, response=messages.ModelInferResponse, **options):
    """(answer, trailing metadata) of one call; raises grpc.RpcError."""
    stub = channel.unary_unary(method)
    options.setdefault("timeout", LIMIT_S)
    body = message if isinstance(message, bytes) else message.SerializeToString()
    answer, done = stub.with_call(body, **options)
    return response.FromString(answer), dict(done.trailing_metadata())


def failure(channel, message, method=INFER, **options):
    """(name of the status, Penstock's code, text) of a call that fails."""
    try:
        call(channel, message, method, **options)
    except grpc.RpcError as error:
        return error.code().name, dict(error.trailing_metadata() or ()).get("penstock-code"), error.details()
    raise AssertionError("it was answered")
