"""The records of one served version: `add` is on the path of every request, the rest runs twenty times a second.

`add` puts what the request has at hand into a list. `flush` turns the list into columns: a few calls into numpy for
hundreds of records, which is why a record costs less than a line of the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Protocol

import numpy as np

from penstock.core.calls import Call
from penstock.core.routes import Arm, Recording
from penstock.core.signature import Field, Signature
from penstock.core.tensors import Array, Tensors, datatype_of
from penstock.predlog.record import Block, Policy, encode_block
from penstock.security.redaction import hashed

# Below the garbage collector's threshold of new objects: what waits here must not make it run.
_MOST_RECORDS = 128
# In bodies, of requests and answers, which stand for the arrays behind them.
_MOST_BYTES = 4 * 2**20
_SPACE = 2**64
_EQUIVALENT: Any = "equiv"


class Sink(Protocol):
    """Where a stream's blocks go."""

    def put(self, frame: bytes, records: int) -> None:
        """Take an encoded block."""
        ...

    def lost(self, endpoint: str, records: int, error: Exception) -> None:
        """Count records that could not be encoded."""
        ...

    def wall_offset_s(self) -> float:
        """What turns a monotonic time into one of the wall clock, now."""
        ...

    def salt(self) -> bytes | None:
        """The salt for hashed fields; None if it cannot be had."""
        ...

    def unknown_fields(self, endpoint: str, version: str, names: list[str]) -> None:
        """Tell that there are rules for fields that do not exist."""
        ...

    def end(self, stream: Stream) -> None:
        """Expect no more of it."""
        ...


class Stream:
    """Collects the records of one arm of `endpoint` and gives them to `sink` as blocks."""

    def __init__(self, endpoint: str, arm: Arm, signature: Signature, recording: Recording, sink: Sink) -> None:
        self._endpoint = endpoint
        self._arm = arm
        self._signature = signature
        self._sink = sink
        self._answered: list[_Record] = []
        self._failed: list[_Record] = []
        self._size = 0
        self._recording: Recording | None = None
        self.follow(recording)

    def follow(self, recording: Recording) -> None:
        """Record by these rules from now on."""
        if recording == self._recording:
            return
        self.flush()
        self._recording = recording
        self._below = None if recording.sample >= 1 else int(recording.sample * _SPACE)
        policy = policies(self._signature, recording)
        self._salt = self._sink.salt() if "hash" in policy.values() else None
        if self._salt is None:
            # Without a salt nothing can be hashed, and what was to be hashed must not be kept as it is.
            policy = {name: "drop" if rule == "hash" else rule for name, rule in policy.items()}
        self._policy = policy
        self._inputs = self._taken("inputs", self._signature.inputs)
        self._outputs = self._taken("outputs", self._signature.outputs)
        unknown = set(recording.fields).difference(
            field.name for field in (*self._signature.inputs, *self._signature.outputs)
        )
        if unknown:
            self._sink.unknown_fields(self._endpoint, self._arm.version, sorted(unknown))

    def _taken(self, kind: str, fields: Sequence[Field]) -> list[tuple[str, bool]]:
        """The fields that are written, and whether as hashes."""
        rules = [(field.name, self._policy.get(f"{kind}/{field.name}", "keep")) for field in fields]
        return [(name, rule == "hash") for name, rule in rules if rule != "drop"]

    def add(
        self, request_id: str, arrived: float, seconds: float, status: int, code: str, reason: str, subject: str,
        unit: int, rows: int, call: Call | None, outputs: Tensors | None, size: int,
    ) -> None:  # fmt: skip
        """Record one call; only with status 200 its fields. `size`: bytes of both bodies, `unit`: a digest or 0."""
        below = self._below
        if below is not None and not sampled(request_id, below):
            return
        if status != 200 or call is None or outputs is None:
            records = self._failed
            records.append((request_id, arrived, seconds, status, code, reason, subject, unit, rows, {}, {}))
        else:
            records = self._answered
            records.append(
                (request_id, arrived, seconds, status, code, reason, subject, unit, rows, call.inputs, outputs)
            )
        self._size += size
        if len(records) >= _MOST_RECORDS or self._size >= _MOST_BYTES:
            self.flush()

    def flush(self) -> bool:
        """Encode what was added; whether there was anything."""
        answered, failed = self._answered, self._failed
        if not answered and not failed:
            return False
        self._answered, self._failed, self._size = [], [], 0
        if answered:
            self._write(answered, self._joined)
        if failed:
            self._write(failed, _without_fields)
        return True

    def rename(self, arm: Arm) -> None:
        """Record under another arm's name from now on."""
        self.flush()
        self._arm = arm

    def close(self) -> None:
        """The version is freed: give what is left of its records."""
        self.flush()
        self._sink.end(self)

    def _write(self, records: list[_Record], fields: _Fields) -> None:
        try:
            self._encode(records, fields)
        except (ValueError, TypeError, KeyError):
            # Not all of one form: those that are alike share a block.
            for alike in _alike(records):
                try:
                    self._encode(alike, fields)
                except Exception as error:  # they are answered already: what cannot be written is counted and told
                    self._sink.lost(self._endpoint, len(alike), error)
        except Exception as error:  # as above; raised into a request it would make a failure of an answer
            self._sink.lost(self._endpoint, len(records), error)

    def _encode(self, records: list[_Record], fields: _Fields) -> None:
        ids, arrived, seconds, status, codes, reasons, subjects, units, rows, inputs, outputs = zip(
            *records, strict=True
        )
        offset_s = self._sink.wall_offset_s()
        arm = self._arm
        joined_inputs, joined_outputs = fields(inputs, outputs)
        block = Block(
            endpoint=self._endpoint, arm=arm.name, version=arm.version, bundle=arm.bundle, policy=self._policy,
            ids=list(ids), codes=list(codes), reasons=list(reasons), subjects=list(subjects),
            time_us=((np.array(arrived) + offset_s) * 1e6).astype(np.int64),
            latency_us=(np.array(seconds) * 1e6).astype(np.int64),
            rows=np.array(rows, np.int32), status=np.array(status, np.int16),
            inputs=joined_inputs, outputs=joined_outputs, units=np.array(units, np.uint64) if any(units) else None,
        )  # fmt: skip
        self._sink.put(encode_block(block), len(records))

    def _joined(self, inputs: Sequence[Tensors], outputs: Sequence[Tensors]) -> tuple[Tensors, Tensors]:
        return self._columns(self._inputs, inputs), self._columns(self._outputs, outputs)

    def _columns(self, fields: list[tuple[str, bool]], calls: Sequence[Tensors]) -> Tensors:
        columns: Tensors = {}
        for name, as_hash in fields:
            arrays = [tensors[name] for tensors in calls]
            if not self._signature.batched:
                arrays = [array[None] for array in arrays]
            # A dtype must not be widened to hold another one: whole numbers beyond 2^53 would change.
            column: Array = np.concatenate(arrays, dtype=arrays[0].dtype, casting=_EQUIVALENT)
            columns[name] = column if not as_hash or self._salt is None else hashed(column, self._salt)
        return columns


_Record = tuple[str, float, float, int, str, str, str, int, int, Tensors, Tensors]
_Fields = Callable[[Sequence[Tensors], Sequence[Tensors]], tuple[Tensors, Tensors]]


def policies(signature: Signature, recording: Recording) -> dict[str, Policy]:
    """What becomes of each field (`inputs/NAME`, `outputs/NAME`) that is not simply kept.

    Example:
        >>> fields = Field(name="city", datatype="BYTES", shape=(-1,), sensitive=True), Field(
        ...     name="age", datatype="INT64", shape=(-1,))
        >>> policies(Signature(inputs=fields, outputs=(), layout="table"), Recording(fields={"age": "drop"}))
        {'inputs/city': 'hash', 'inputs/age': 'drop'}
    """
    found: dict[str, Policy] = {}
    for kind, fields in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        for field in fields:
            rule = recording.fields.get(field.name, "hash" if field.sensitive else "keep")
            if rule != "keep":
                found[f"{kind}/{field.name}"] = rule
    return found


def sampled(request_id: str, below: int) -> bool:
    """Whether a request is in the sample of `below` / 2^64; by its id alone, so that every node decides alike."""
    return int.from_bytes(blake2b(request_id.encode(), digest_size=8).digest(), "big") < below


def _without_fields(inputs: Sequence[Tensors], outputs: Sequence[Tensors]) -> tuple[Tensors, Tensors]:
    return {}, {}


def _alike(records: list[_Record]) -> list[list[_Record]]:
    """The records in groups whose fields can be joined."""
    groups: dict[object, list[_Record]] = {}
    for record in records:
        form = [(name, datatype_of(array), array.dtype.str, array.shape[1:]) for part in record[-2:]
                for name, array in part.items()]  # fmt: skip
        groups.setdefault(tuple(form), []).append(record)
    return list(groups.values())
