"""What the environment of a cloud's container says: which model, which port, which paths.

Sources: SageMaker, "Use your own inference code with hosting services"; Vertex AI, "Custom container requirements";
Azure Machine Learning, "Deploy a custom container to an online endpoint".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from penstock.core.errors import InvalidInput, NotFound

_PREDICT = "/v1/endpoints/0/deployedModels/0:predict"
_HEALTH = "/ping"
_SAGEMAKER = ("SAGEMAKER_BIND_TO_PORT", "SAGEMAKER_MULTI_MODEL", "SAGEMAKER_BATCH")


class Platform(msgspec.Struct, frozen=True, kw_only=True):
    """A cloud's container. `model` is its folder of the model, None where there is none.

    `aliases` are the paths that it asks for, by the address that each stands for. With `several` models come later.
    `bucket` is where it says that the model is, if that is no folder.
    """

    name: str
    model: Path | None = None
    bucket: str = ""
    port: int | None = None
    aliases: dict[str, str] = {}
    several: bool = False


def platform_of(environ: Mapping[str, str], *, named: bool = False) -> Platform | None:
    """The platform whose container this is, None on any other machine.

    Where the model is `named`, a folder that SageMaker has in training, too, tells nothing. Raises InvalidInput
    (`invalid-platform`) for a port or path that is none.

    Example:
        >>> platform_of({"AIP_HTTP_PORT": "7080", "AIP_HEALTH_ROUTE": "/alive"}).aliases
        {'/alive': '/ping'}
    """
    if environ.get("AIP_HTTP_PORT") or environ.get("AIP_PREDICT_ROUTE"):
        uri = environ.get("AIP_STORAGE_URI", "")
        local = _local(uri)
        return Platform(
            name="vertex",
            model=local,
            bucket=uri if local is None else "",
            port=_port(environ, "AIP_HTTP_PORT"),
            aliases=_aliases(environ),
        )
    if environ.get("AZUREML_MODEL_DIR"):
        return Platform(name="azureml", model=Path(environ["AZUREML_MODEL_DIR"]))
    folder = Path(environ.get("SAGEMAKER_BASE_DIR") or "/opt/ml", "model")
    several = environ.get("SAGEMAKER_MULTI_MODEL", "").lower() == "true"
    if (folder.is_dir() and not named) or any(environ.get(name) for name in _SAGEMAKER):
        return Platform(
            name="sagemaker",
            model=folder if folder.is_dir() else None,
            port=_port(environ, "SAGEMAKER_BIND_TO_PORT"),
            several=several,
        )
    return None


def model_of(platform: Platform | None) -> Path:
    """The bundle that the platform has put into the container; raises NotFound, InvalidInput."""
    if platform is not None and platform.bucket:
        raise NotFound(
            "no-model",
            f"AIP_STORAGE_URI is {platform.bucket!r}, which is no folder here: what lies in a bucket is not fetched",
            hint="put the bundle into the image, or mount it, and name it: penstock serve /model/churn.penstock",
        )
    if platform is None or platform.model is None:
        raise NotFound(
            "no-model",
            "no MODEL is given, and no platform has put one here",
            hint="name a bundle, for example penstock serve churn.penstock",
        )
    # Here: a command that needs no bundle need not wait for what opens them.
    from penstock.bundle.find import bundle_in

    return bundle_in(platform.model)


def _aliases(environ: Mapping[str, str]) -> dict[str, str]:
    aliases = {}
    for name, meant in (("AIP_HEALTH_ROUTE", _HEALTH), ("AIP_PREDICT_ROUTE", _PREDICT)):
        path = environ.get(name)
        if not path:
            continue
        if not path.startswith("/"):
            raise InvalidInput(
                "invalid-platform", f"{name} is {path!r}, which is no path", hint="it begins with a slash"
            )
        aliases["/" + path.strip("/")] = meant
    return aliases


def _port(environ: Mapping[str, str], name: str) -> int | None:
    text = environ.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise InvalidInput("invalid-platform", f"{name} is {text!r}, which is no port")
    return int(text)


def _local(uri: str) -> Path | None:
    """A folder; what lies in a bucket is not fetched."""
    path = uri.removeprefix("file://")
    return Path(path) if path.startswith("/") else None
