"""Our schemas have the numbers, types and names of the originals, whose generated code other packages bring."""

import warnings

import pytest
from google.protobuf.descriptor import FieldDescriptor

from penstock.protocols.oip import grpc_infer
from penstock.protocols.tfserving import grpc_predict

# The original has an enum, which is a number on the wire.
_SAME = {FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32}


def said(field):
    """Name, type, and whether it is repeated; maps are messages, too."""
    return field.name, _SAME.get(field.type, field.type), field.is_repeated


def ours_of(message, originals):
    """The messages of our schema that the originals have, by name."""
    file = message("ModelInferRequest" if message is grpc_infer.message else "PredictRequest").DESCRIPTOR.file
    return {name: found for name, found in file.message_types_by_name.items() if name in originals}


def subset(mine, original):
    """Whether every field of ours is the original's, which may hold itself: only ours is walked through."""
    originals = {field.number: field for field in original.fields}
    for field in mine.fields:
        if field.number not in originals or said(field) != said(originals[field.number]):
            return False
        if field.message_type is not None and not subset(field.message_type, originals[field.number].message_type):
            return False
    return True


def test_the_open_inference_protocol():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tritonclient.grpc import service_pb2

    originals = service_pb2.DESCRIPTOR.message_types_by_name
    ours = ours_of(grpc_infer.message, originals)
    assert len(ours) == 22
    wrong = [name for name, found in ours.items() if not subset(found, originals[name])]
    # Triton's metadata has no properties; those of the protocol have.
    assert wrong == ["ModelMetadataResponse"]


def test_tensorflow_serving():
    pytest.importorskip("tensorflow_serving")
    from tensorflow.core.protobuf import meta_graph_pb2
    from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2

    originals = {}
    for module in (predict_pb2, get_model_metadata_pb2, get_model_status_pb2, model_pb2, meta_graph_pb2):
        originals |= dict(module.DESCRIPTOR.message_types_by_name)
    ours = ours_of(grpc_predict.message, originals)
    assert {"PredictRequest", "PredictResponse", "ModelSpec", "SignatureDef", "TensorInfo"} <= set(ours)
    wrong = [name for name, found in ours.items() if not subset(found, originals[name])]
    assert wrong == []
