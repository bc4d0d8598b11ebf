"""The manifest: everything a bundle says about itself. Its digest is the bundle's name.

`docs/formats/bundle.md` specifies each field and why it exists. Nothing here depends on when or where the bundle was
packed: the same inputs give the same manifest, so the digest is evidence and not an accident.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from penstock.core.digest import canonical_json, digest_of
from penstock.core.errors import InvalidInput
from penstock.core.signature import Signature

FORMAT = 1
MANIFEST = "manifest.json"
MEASUREMENTS = "measurements.json"

Runtime = Literal[
    "onnx", "sklearn", "xgboost", "lightgbm", "catboost", "python", "mlflow", "graph",
    "torch", "huggingface", "tensorflow", "tflite", "statsmodels", "spacy",
]  # fmt: skip
Serialization = Literal["onnx", "skops", "pickle", "joblib", "native", "source", "safetensors", "graph"]


class FileEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Digest and size of one file, both checked before it is opened."""

    sha256: str
    size: int


class Artifact(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A model in some form: where it lies, what opens it, and with which options.

    `entry` is the class of a Python source; `options` are plain values the runtime needs (for example
    `{"derive_predictions": true}`: labels equal the arg-max of probabilities, proven when packed).
    """

    path: str
    runtime: Runtime
    serialization: Serialization
    entry: str = ""
    options: dict[str, Any] = {}


class Evidence(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The proof that the served form answers what the original answers, or why the original is served.

    `reason` is one sentence for people. Differences are absolute, over every finite score. `ties` counts labels that
    differ only where the original's two best scores are equal within the tolerance.
    """

    converted: bool
    reason: str
    converter: dict[str, str] = {}
    rows_compared: int = 0
    perturbed_rows: int = 0
    labels_equal: bool | None = None
    largest_difference: float | None = None
    ties: int = 0


class Batching(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Whether rows of different callers may share one run, proven by comparing alone, batched, padded, shuffled."""

    allowed: bool
    reason: str
    rows_compared: int = 0
    largest_difference: float | None = None


class Golden(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Rows with expected outputs, replayed at every load; `calls` > 0: whole calls, for a model without rows."""

    path: str
    rows: int
    deterministic: bool
    synthetic: bool = False
    calls: int = 0
    rtol: float = 1e-4
    atol: float = 1e-5


class Environment(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """The Python a model process needs: minor version and a requirements file of pinned names (with hashes if known).

    `identity` is the digest of (Python minor, platform, pinned names and hashes).
    """

    python: str
    platform: str
    requirements: str
    identity: str
    wheels: str = ""


class Lineage(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Where the model comes from, as far as it was told or could be read; `packages` made or opened the original."""

    data_digest: str = ""
    git_commit: str = ""
    git_dirty: bool = False
    target: str = ""
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    packages: dict[str, str] = {}


class Waiver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Somebody's recorded reason to open a pickle once, when packing."""

    reason: str
    file_sha256: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """One bundle. `original` is what was packed; `served` is what a node runs (equal to it unless converted)."""

    format: int
    name: str
    kind: str
    signature: Signature
    files: dict[str, FileEntry]
    original: Artifact
    served: Artifact
    builtin_operators: bool
    evidence: Evidence
    batching: Batching
    golden: Golden
    environment: Environment
    profile: str = ""
    lineage: Lineage = Lineage()
    waiver: Waiver | None = None
    licence: str = ""

    @property
    def holds_no_code(self) -> bool:
        """Whether what is served runs nothing of its author's: it may run inside a node, and needs no environment."""
        return self.builtin_operators and self.served.runtime in ("onnx", "graph")

    @property
    def takes_parameters(self) -> bool:
        """Whether the parameters of a call reach the model, so that calls with different ones are not alike."""
        return self.served.runtime in ("python", "mlflow", "graph")

    @property
    def text_only(self) -> bool:
        """Whether its BYTES inputs are text: only Python and pictures take bytes of any kind."""
        return self.served.runtime != "python" and self.served.options.get("task") != "images"

    def to_json(self) -> bytes:
        """The canonical bytes that are stored and hashed."""
        return canonical_json(self)

    def digest(self) -> str:
        """The bundle's name: the digest of the canonical bytes."""
        return digest_of(self.to_json())


class _FormatOnly(msgspec.Struct):
    format: int


def read_manifest(data: bytes) -> Manifest:
    """Read a manifest of any released format; raises InvalidInput for a newer or a damaged one."""
    try:
        version = msgspec.json.decode(data, type=_FormatOnly).format
        if version > FORMAT:
            raise InvalidInput(
                "newer-format",
                f"this bundle has format {version}, newer than {FORMAT}, the newest this Penstock reads",
                hint="upgrade penstock, or pack again with this version",
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise InvalidInput(
            "damaged-bundle", f"{MANIFEST} cannot be read: {error}", hint="pack the model again"
        ) from None
    if version < 1:
        raise InvalidInput("damaged-bundle", f"{MANIFEST} has format {version}, which never was one")
    # The stored bytes are what is hashed; bytes that are not canonical would have two names for one content.
    if manifest.to_json() != data:
        raise InvalidInput("damaged-bundle", f"{MANIFEST} is not in canonical form", hint="pack the model again")
    return manifest
