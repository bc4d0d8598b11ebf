"""The statistics extension: how many calls and rows a version answered, and how long it took.

Source: Triton Inference Server, `extension_statistics.md`. What is not measured is left out rather than called 0.
"""

from __future__ import annotations

from typing import Any

import msgspec

_encode = msgspec.json.Encoder().encode


class VersionCounts(msgspec.Struct, frozen=True, kw_only=True):
    """What one version did since the node first counted; durations in microseconds, of calls from arrival to answer."""

    name: str
    version: str
    rows: int
    batches: int
    succeeded: int
    failed: int
    calls_us: int
    model_us: int


def statistics(counts: list[VersionCounts]) -> bytes:
    """The body of `GET /v2/models/stats`."""
    return _encode({"model_stats": [_of_version(one) for one in counts]})


def _of_version(one: VersionCounts) -> dict[str, Any]:
    calls = one.succeeded + one.failed
    # Calls are timed together: a failed one counts with the mean of all.
    mean_ns = one.calls_us * 1000 // calls if calls else 0
    return {
        "name": one.name,
        "version": one.version,
        "inference_count": one.rows,
        "execution_count": one.batches,
        "inference_stats": {
            "success": {"count": one.succeeded, "ns": mean_ns * one.succeeded},
            "fail": {"count": one.failed, "ns": mean_ns * one.failed},
            "compute_infer": {"count": one.batches, "ns": one.model_us * 1000},
        },
    }
