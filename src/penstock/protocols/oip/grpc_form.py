"""The Open Inference Protocol over gRPC, as a form. Protobuf is loaded when the form is first used."""

from __future__ import annotations

from penstock.core.signature import Signature
from penstock.protocols.form import Codec, FirstReader, Form, ModelView
from penstock.protocols.grpc_status import grpc_reply_of


def _codec(view: ModelView) -> Codec:
    from penstock.protocols.oip.grpc_infer import GrpcInferCodec

    return GrpcInferCodec(view)


def _first(name: str, signature: Signature) -> FirstReader:
    from penstock.protocols.oip.grpc_infer import first_reader

    return first_reader(name)


GRPC_INFER = Form("grpc-infer", _codec, grpc_reply_of, _first)
