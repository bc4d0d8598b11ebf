"""Measuring what is not known yet, and keeping it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from verification.finding import Finding, Record
from verification.machine import machine
from verification.store import FOLDER, answers, kept, save


def record_of(name: str, code: str, short: bool, measure: Callable[[], list[Finding]], folder: Path = FOLDER) -> Record:
    """The record that is kept under `name` where it answers for `code`, else a new one of what `measure` finds."""
    known = kept(name, folder)
    if known is not None and answers(known, code, short):
        return known
    load_average, began = os.getloadavg()[0], time.monotonic()
    findings = measure()
    seconds = round(time.monotonic() - began, 1)
    when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    record = Record(name, code, when, seconds, short, load_average, machine(), findings)
    save(record, folder)
    return record
