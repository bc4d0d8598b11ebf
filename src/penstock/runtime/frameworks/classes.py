"""The order of a classifier's classes: the signature's is the one that counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from penstock.core.errors import ModelFailed
from penstock.core.signature import Signature
from penstock.core.tensors import Array


def column_order(signature: Signature, own: Any) -> Array | None:
    """Where each class of the signature stands among the model's own; None when the order is the same.

    Raises ModelFailed("wrong-classes") when they are not the same classes: the wrong column would be served.
    """
    if signature.classes is None or own is None:
        return None
    have = np.asarray(own).tolist()
    want = list(signature.classes)
    if have == want:
        return None
    if len(have) != len(want) or set(map(str, have)) != set(map(str, want)):
        raise ModelFailed("wrong-classes", f"the model's classes are {have[:10]}, the signature's {want[:10]}")
    names = [str(label) for label in have]
    return np.array([names.index(str(label)) for label in want])
