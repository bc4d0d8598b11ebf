"""Every class there is a converter for."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from penstock.pack.convert import (
    borrow,
    catboost_trees,
    compose,
    curves,
    encoders,
    ensembles,
    hist_gradient_boosting,
    impute,
    lightgbm_trees,
    linear,
    neural,
    scalers,
    sklearn_trees,
    statsmodels_lines,
    weighted_trees,
    wrappers,
    xgboost_trees,
)
from penstock.pack.convert.context import Rules

_MODULES = (
    borrow,
    catboost_trees,
    compose,
    curves,
    encoders,
    ensembles,
    hist_gradient_boosting,
    impute,
    lightgbm_trees,
    linear,
    neural,
    scalers,
    sklearn_trees,
    statsmodels_lines,
    weighted_trees,
    wrappers,
    xgboost_trees,
)


def _collect(table: str) -> Mapping[str, Any]:
    return MappingProxyType({name: rule for module in _MODULES for name, rule in getattr(module, table, {}).items()})


RULES = Rules(transforms=_collect("TRANSFORMS"), classifiers=_collect("CLASSIFIERS"), regressors=_collect("REGRESSORS"))
