"""Prediction records as columns: a block holds what one version answered in a short time, each column one array.

`docs/formats/prediction-log.md` specifies the bytes. Columns and not rows, because a node has no time to write rows:
joining the arrays of a thousand calls costs less than naming the values of ten.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeVar, cast

import msgspec
import numpy as np
import numpy.typing as npt

from penstock.core.errors import InvalidInput
from penstock.core.frames import decode_frame, encode_frame
from penstock.core.tensors import Array, Tensors

FORMAT = 1

Integer = TypeVar("Integer", bound=np.integer[Any])
Policy = Literal["keep", "drop", "hash"]


class Block(msgspec.Struct, kw_only=True, eq=False):
    """Records of one endpoint, arm and version. Every column has one element per record, in the order of answering.

    `time_us` is when the request was whole, microseconds since 1970, UTC (INT64); `ids` the request ids; `rows` the
    rows of each call (INT32); `latency_us` from the request to its answer (INT64); `status` the HTTP status (INT16).
    `codes` are error codes, `reasons` why that arm answered, `subjects` who called; each may be "". `units` are digests
    of whom the answer sticks to (UINT64), 0 for nobody; None stands for nobody in all of them.
    `inputs` and `outputs` by name, first axis `rows.sum()`: record i owns the `rows[i]` elements after those of the
    records before it. Both are empty in a block of failed calls. `policy` names the fields (`inputs/NAME`,
    `outputs/NAME`) that are not as they were: dropped ones are missing, hashed ones are text.
    """

    endpoint: str
    arm: str
    version: str
    bundle: str
    time_us: npt.NDArray[np.int64]
    ids: list[str]
    rows: npt.NDArray[np.int32]
    latency_us: npt.NDArray[np.int64]
    status: npt.NDArray[np.int16]
    codes: list[str]
    reasons: list[str]
    subjects: list[str]
    inputs: Tensors
    outputs: Tensors
    policy: dict[str, Policy] = {}
    units: npt.NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.ids)


class _Meta(msgspec.Struct, omit_defaults=True):
    format: int
    endpoint: str
    arm: str
    version: str
    bundle: str
    words: dict[str, list[str]]
    policy: dict[str, Policy] = {}


def encode_block(block: Block) -> bytes:
    """The block as one tensor frame; raises InvalidInput for an id that holds a line break or is empty.

    Example:
        >>> one = np.ones(1, np.int64)
        >>> block = Block(
        ...     endpoint="churn", arm="main", version="churn/7", bundle="", time_us=one, ids=["a"],
        ...     rows=one.astype(np.int32), latency_us=one, status=one.astype(np.int16), codes=[""],
        ...     reasons=["only-arm"], subjects=[""], inputs={"x": np.array([[1.5]], np.float32)}, outputs={},
        ... )
        >>> decode_block(encode_block(block)).inputs
        {'x': array([[1.5]], dtype=float32)}
    """
    lines = "\n".join(block.ids)
    if lines.count("\n") != len(block.ids) - 1:
        raise InvalidInput("invalid-record", "a request id of a prediction record holds a line break, or none is there")
    tensors: Tensors = {
        "time_us": block.time_us,
        "rows": block.rows,
        "latency_us": block.latency_us,
        "status": block.status,
        "id": np.frombuffer(lines.encode(), np.uint8),
    }
    if block.units is not None and block.units.any():
        tensors["unit"] = block.units
    words: dict[str, list[str]] = {}
    for name, texts in (("code", block.codes), ("reason", block.reasons), ("subject", block.subjects)):
        words[name], index = _coded(texts)
        if len(words[name]) > 1:
            tensors[f"index/{name}"] = index
    for kind, fields in (("inputs", block.inputs), ("outputs", block.outputs)):
        for name, array in fields.items():
            _put_field(tensors, f"{kind}/{name}", array)
    meta = _Meta(FORMAT, block.endpoint, block.arm, block.version, block.bundle, words, block.policy)
    return encode_frame(tensors, msgspec.to_builtins(meta))


def decode_block(data: bytes | memoryview) -> Block:
    """The block in a frame; raises InvalidInput when it is damaged or of a newer format.

    Numeric columns are read-only views of `data`.
    """
    try:
        tensors, raw = decode_frame(data)
        if isinstance(version := raw["format"], int) and version > FORMAT:
            raise InvalidInput(
                "newer-format",
                f"a block of the prediction log has format {version}, this is {FORMAT}",
                hint="upgrade Penstock where the log is read",
            )
        meta = msgspec.convert(raw, _Meta)
        ids = tensors["id"].tobytes().decode().split("\n")
        block = Block(
            endpoint=meta.endpoint, arm=meta.arm, version=meta.version, bundle=meta.bundle, policy=meta.policy,
            ids=ids,
            time_us=_integers(tensors["time_us"], np.int64), rows=_integers(tensors["rows"], np.int32),
            latency_us=_integers(tensors["latency_us"], np.int64), status=_integers(tensors["status"], np.int16),
            codes=_texts("code", meta, tensors, len(ids)),
            reasons=_texts("reason", meta, tensors, len(ids)),
            subjects=_texts("subject", meta, tensors, len(ids)),
            inputs=_fields("inputs/", tensors), outputs=_fields("outputs/", tensors),
            units=_integers(tensors["unit"], np.uint64) if "unit" in tensors else None,
        )  # fmt: skip
        _check_lengths(block)
    except (KeyError, IndexError, ValueError, TypeError, msgspec.ValidationError) as error:
        raise InvalidInput("damaged-block", f"a block of the prediction log cannot be read: {error!r:.200}") from None
    return block


def _put_field(tensors: Tensors, name: str, array: Array) -> None:
    """A numeric array as it is; text as its distinct values and an index, which is smaller and cheaper to write."""
    if array.dtype.kind not in "OSUT":
        tensors[name] = array
        return
    flat: list[Any] = array.ravel().tolist()
    # 1, 1.0 and True are one key of a dictionary and three different texts.
    if not {str, bytes, type(None)}.issuperset(map(type, flat)):
        flat = [value if value is None or isinstance(value, bytes) else str(value) for value in flat]
    words, index = _coded(flat)
    tensors[name] = np.fromiter(words, object, len(words))
    tensors[f"index/{name}"] = index.reshape(array.shape)


def _coded(values: Sequence[Any]) -> tuple[list[Any], Array]:
    """The distinct values, and for each value which of them it is, in the smallest unsigned integers that do."""
    words = list(dict.fromkeys(values))
    dtype = np.uint8 if len(words) <= 2**8 else np.uint16 if len(words) <= 2**16 else np.uint32
    if len(words) == 1:
        return words, np.zeros(len(values), dtype)
    position = dict(zip(words, range(len(words)), strict=True))
    return words, np.fromiter(map(position.__getitem__, values), dtype, len(values))


def _integers(array: Array, dtype: type[Integer]) -> npt.NDArray[Integer]:
    if array.dtype != dtype or array.ndim != 1:
        raise ValueError(f"a column is {array.dtype} of {array.ndim} axes")
    return cast("npt.NDArray[Integer]", array)


def _texts(name: str, meta: _Meta, tensors: Tensors, count: int) -> list[str]:
    words = meta.words[name]
    index = tensors.get(f"index/{name}")
    return [words[0]] * count if index is None else [words[at] for at in index.tolist()]


def _fields(prefix: str, tensors: Tensors) -> Tensors:
    """The fields of one kind; a name may hold any character, so only the prefix is looked at."""
    fields: Tensors = {}
    for name, array in tensors.items():
        if name.startswith(prefix):
            index = tensors.get(f"index/{name}")
            fields[name.removeprefix(prefix)] = array if index is None else array[index]
    return fields


def _check_lengths(block: Block) -> None:
    """A block whose columns have different lengths would give one caller's row to another's id."""
    count = len(block.ids)
    columns = (block.time_us, block.rows, block.latency_us, block.status, block.codes, block.reasons, block.subjects)
    if any(len(column) != count for column in columns) or (block.units is not None and len(block.units) != count):
        raise ValueError("columns of different lengths")
    if block.rows.min() < 0:
        raise ValueError("a record with less than no rows")
    rows = int(block.rows.sum())
    for name, array in (*block.inputs.items(), *block.outputs.items()):
        if len(array) != rows:
            raise ValueError(f"field {name!r} has {len(array)} rows, its records {rows}")
