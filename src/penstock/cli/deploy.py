"""`penstock.deploy`: the control of this machine's home, found as the commands find it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.options import Place
from penstock.cli.settings import ensure_home
from penstock.core.errors import Unsupported

if TYPE_CHECKING:
    from penstock.control.deploy import Deployed


def deploy(
    model: Any,
    *,
    name: str,
    sample: Any = None,
    endpoint: str = "",
    alias: str = "",
    reason: str = "",
    rollout: Mapping[str, Any] | None = None,
    home: str | Path | None = None,
    **choices: Any,
) -> Deployed:
    """Pack a trained model, register it, run its gates, and let an endpoint (default: `name`) serve it.

    `model`, `sample` and `choices` are those of `penstock.pack`. Every node that follows the control of this home
    (`penstock up`) serves it then. Raises Refused (`gate-failed`) where a gate stops it: the endpoint then goes on as
    it is. With `rollout` (the fields of `rollout` in penstock.yaml) it takes over from an earlier version step by step,
    while `penstock up` runs; see `penstock.rollouts`. Where the gates are inconclusive, the answer's operation is
    `waiting-approval`.

    Example:
        deployed = penstock.deploy(model, name="churn", sample=rows)
        deployed.version.ref, deployed.operation.state     # ('churn/1', 'done')
    """
    settings = Place(home=Path(home) if home is not None else None).settings(os.environ)
    ensure_home(settings)
    try:
        from penstock.control.control import Control
        from penstock.rollout.plan import read_plan
        from penstock.security.identity import Identity
        from penstock.storage.locate import open_blobs
    except ModuleNotFoundError as error:
        raise Unsupported(
            "missing-extra", f"control needs {error.name}", hint="pip install 'penstock[control]'"
        ) from error
    with Control.open(settings.database_url, open_blobs(settings.artifacts_url), settings.home) as control:
        identity = Identity(subject=settings.actor, role="admin")
        deployed = control.deploy(
            model, sample, name=name, identity=identity, endpoint=endpoint, alias=alias, reason=reason,
            rollout=read_plan(rollout, "rollout") if rollout is not None else None, choices=choices,
        )  # fmt: skip
    if deployed.operation.error is not None:
        raise deployed.operation.error.error()
    return deployed
