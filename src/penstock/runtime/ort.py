"""ONNX Runtime with its telemetry off. Everything in Penstock gets the library from here, never by its own name.

Since 1.29 the Linux wheels report on sessions by default, models' file names and hashes among it, and keep a device id
and a queue in the user's cache folder. Nothing may leave the machine: the variable must be set before the first
import, which is why this module has an effect when it is imported; child processes inherit it.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime

# For a program that had imported the library before Penstock: then this is all that is left to do.
onnxruntime.disable_telemetry_events()

__all__ = ["onnxruntime"]
