"""Which failures are worth another attempt, and after how long. Pure: the draw is passed in.

Asking a model is a pure function of its inputs, so a second attempt can never do something twice; what makes one unsafe
is the load it adds and the harm the call itself may do. Hence:

    connection refused or lost before an answer began    again: nobody is working on it, or a swap closed an idle socket
    429, except `too-many-failures`                      again, not before Retry-After
    `too-many-failures`                                  not again: the key is not valid
    503, except `worker-died`                            again: starting, draining, or a process is being replaced
    `worker-died`                                        not again: this very call may be what kills the model's process
    an answer that broke off, a timeout, any other status   not again: the same would happen, or time is up
"""

from __future__ import annotations

import json

from penstock.sdk.messages import Incoming, Lost
from penstock.sdk.problems import retry_after_s

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0


def pause_before_retry_s(heard: Incoming | Lost, attempt: int, draw: float) -> float | None:
    """Seconds to wait before attempt `attempt + 1` (the first attempt is 0), or None when there should be none.

    Exponential backoff with full jitter (Brooker, "Exponential Backoff And Jitter", 2015); 0 <= `draw` < 1.

    Example:
        >>> pause_before_retry_s(Lost("connect", "refused"), attempt=1, draw=0.5)
        0.05
        >>> pause_before_retry_s(Incoming(429, {"retry-after": "3"}, b""), attempt=0, draw=0.0)
        3.0
        >>> pause_before_retry_s(Incoming(400, {}, b""), attempt=0, draw=0.5) is None
        True
    """
    backoff_s: float = draw * min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))
    if isinstance(heard, Lost):
        return backoff_s if heard.stage in ("connect", "before-answer") else None
    if heard.status in (429, 503) and _code(heard) not in ("too-many-failures", "worker-died"):
        return (retry_after_s(heard) or 0) + backoff_s
    return None


def _code(answer: Incoming) -> str:
    try:
        return str(json.loads(answer.body)["code"])
    except (ValueError, KeyError, TypeError):
        return ""
