"""Azure ML's `/score`: what `/invocations` takes, and `input_data` and `data`, whose answer is the bare list.

Source: Azure Machine Learning, "Deploy MLflow models to online endpoints".
"""

from __future__ import annotations

from functools import partial

from penstock.protocols.address import ModelAddress
from penstock.protocols.form import Form
from penstock.protocols.mlflow.first import first_reader
from penstock.protocols.mlflow.invocations import InvocationsCodec
from penstock.protocols.mlflow.problems import failure


def parse(parts: list[str]) -> ModelAddress | None:
    """The address in the parts of a path that begins with `score`, or `swagger.json`, which describes it."""
    return ModelAddress(None, None, parts[0]) if len(parts) == 1 else None


# By them a caller of Azure ML finds his request in its logs.
_ECHOED = (b"x-ms-client-request-id", b"x-ms-request-id")
SCORE = Form(
    "score",
    lambda view: InvocationsCodec(view, azure=True),
    failure,
    partial(first_reader, azure=True),
    names_calls=True,
    echoed=_ECHOED,
)
