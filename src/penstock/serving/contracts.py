"""The contracts that a node speaks: the addresses of each, the form of their calls and of their failures.

A new contract is a line in each table.
"""

from __future__ import annotations

from collections.abc import Mapping

from penstock.protocols.address import ModelAddress, Parse
from penstock.protocols.azureml import score
from penstock.protocols.form import Failure, Form
from penstock.protocols.mlflow import problems as mlflow_problems
from penstock.protocols.mlflow import urls as mlflow
from penstock.protocols.mlflow.form import INVOCATIONS
from penstock.protocols.oip.form import INFER
from penstock.protocols.oip.generate import GENERATE, GENERATE_STREAM
from penstock.protocols.oip.grpc_form import GRPC_INFER
from penstock.protocols.oip.urls import parse, parse_rows
from penstock.protocols.openai import problems as openai_problems
from penstock.protocols.openai import urls as openai_urls
from penstock.protocols.openai.embeddings import EMBEDDINGS
from penstock.protocols.problems import reply_of
from penstock.protocols.rows import ROWS
from penstock.protocols.sagemaker import urls as sagemaker
from penstock.protocols.tfserving.examples import CLASSIFY, REGRESS
from penstock.protocols.tfserving.grpc_form import GRPC_PREDICT
from penstock.protocols.tfserving.predict import PREDICT
from penstock.protocols.v1_urls import parse as parse_v1
from penstock.protocols.vertex.predict import VERTEX

# By the first part of a path.
PARSERS: Mapping[str, Parse] = {
    "v1": parse_v1,
    "v2": parse,
    "predict": parse_rows,
    "openai": openai_urls.parse,
    "invocations": mlflow.parse,
    "models": sagemaker.parse,
    "score": score.parse,
    "swagger.json": score.parse,
}
# By the verb of an address. What is not here is a page: see `pages`. No URL has the verb of a gRPC form.
FORMS: Mapping[str, Form] = {
    form.name: form
    for form in (
        INFER,
        GENERATE,
        GENERATE_STREAM,
        GRPC_INFER,
        ROWS,
        PREDICT,
        CLASSIFY,
        REGRESS,
        GRPC_PREDICT,
        EMBEDDINGS,
        INVOCATIONS,
        VERTEX,
        score.SCORE,
    )
}
# By a whole path, or its first part: how a page fails, and a call that is refused before it is read. What is not here
# does as the Open Inference Protocol: its form is TensorFlow Serving's, too, and Vertex AI asks for none.
FAILURES: Mapping[str, Failure] = {
    **dict.fromkeys(("openai", "v1/models", "v1/embeddings"), openai_problems.failure),
    **dict.fromkeys(("invocations", "score", "models"), mlflow_problems.failure),
    **dict.fromkeys(("ping", "health", "version", "execution-parameters", "swagger.json"), mlflow_problems.failure),
}


def failure_of(parts: list[str]) -> Failure:
    """How the contract that a path's parts belong to tells a failure.

    Example:
        >>> failure_of(["v2", "models"]) is reply_of, failure_of(["score"]) is FORMS["score"].failure
        (True, True)
    """
    return FAILURES.get("/".join(parts)) or FAILURES.get(parts[0] if parts else "", reply_of)


def named_by_body(address: ModelAddress) -> bool:
    """Whether the body says which endpoint is meant, and not the address."""
    form = FORMS.get(address.verb)
    return address.name is None and form is not None and form.model_of is not None
