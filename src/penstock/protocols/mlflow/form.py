"""`/invocations` as a form."""

from __future__ import annotations

from penstock.protocols.form import Form
from penstock.protocols.mlflow.first import first_reader
from penstock.protocols.mlflow.invocations import InvocationsCodec
from penstock.protocols.mlflow.problems import failure

# What a caller of SageMaker wants to find in the answer again.
ECHOED = (b"x-amzn-sagemaker-custom-attributes",)

INVOCATIONS = Form("invocations", InvocationsCodec, failure, first_reader, names_calls=True, echoed=ECHOED)
