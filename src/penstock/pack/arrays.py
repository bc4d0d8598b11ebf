"""The type of arrays whose dtype is only known while running; static checks cannot follow arithmetic on them."""

from __future__ import annotations

from typing import Any

import numpy as np

Values = np.ndarray[Any, np.dtype[Any]]
