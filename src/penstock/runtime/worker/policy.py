"""How model processes are kept: values and pure decisions."""

from __future__ import annotations

import msgspec

_STABLE_S = 60.0


class WorkerPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the node allows its model processes. Seconds and bytes.

    `allow_pickle`: may open a pickle that packing had a waiver for. `call_limit_s`: a call without a deadline, or
    with a later one, gets this one. `grace_s`: how long after a deadline a model that still computes is ended.
    `nice`: how far the processes give way to others.
    `memory_bytes`: private memory above which a process is replaced, 0 for none. `threads`: of BLAS and OpenMP.
    """

    workers: int = 1
    threads: int = 1
    nice: int = 0
    allow_pickle: bool = False
    load_limit_s: float = 300.0
    call_limit_s: float = 60.0
    grace_s: float = 2.0
    drain_s: float = 30.0
    memory_bytes: int = 0
    memory_check_s: float = 1.0
    backoff_first_s: float = 0.1
    backoff_most_s: float = 30.0


def failures_after(failures: int, lived_s: float) -> int:
    """Failures in a row after a process ended that had lived so long; a long life forgives the earlier ones.

    Example:
        >>> failures_after(3, 1.0), failures_after(3, 3600.0)
        (4, 1)
    """
    return 1 if lived_s >= _STABLE_S else failures + 1


def backoff_s(failures: int, policy: WorkerPolicy) -> float:
    """How long to wait before the next start: doubling, up to the policy's most.

    Example:
        >>> [backoff_s(n, WorkerPolicy()) for n in (1, 2, 3, 50)]
        [0.1, 0.2, 0.4, 30.0]
    """
    # The exponent is bounded: 2.0 ** 5000 overflows on a model that has crashed for days.
    return min(policy.backoff_most_s, policy.backoff_first_s * 2.0 ** min(failures - 1, 60))
