"""Every class there is a converter for."""

from __future__ import annotations

from types import MappingProxyType

from penstock.pack.convert import compose, encoders, hist_gradient_boosting, impute, linear, scalers, sklearn_trees
from penstock.pack.convert.context import Rules

_MODULES = (compose, encoders, hist_gradient_boosting, impute, linear, scalers, sklearn_trees)


def _collect(table: str) -> MappingProxyType[str, object]:
    return MappingProxyType({name: rule for module in _MODULES for name, rule in getattr(module, table, {}).items()})


RULES = Rules(transforms=_collect("TRANSFORMS"), classifiers=_collect("CLASSIFIERS"), regressors=_collect("REGRESSORS"))
