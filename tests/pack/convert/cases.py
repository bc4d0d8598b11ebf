"""What tabular users train: every estimator we want to know the conversion of, on small seeded data."""

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pandas as pd
from sklearn import (
    calibration,
    cluster,
    compose,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    feature_selection,
    gaussian_process,
    impute,
    kernel_approximation,
    linear_model,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    preprocessing,
    svm,
    tree,
)
from sklearn.datasets import make_classification
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import make_pipeline, make_union

ROWS = 600


class Case(msgspec.Struct, frozen=True):
    """An estimator to be fitted, its rows and its target."""

    name: str
    make: Callable[[], Any]
    x: Any
    y: Any


def _data() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    two, y2 = make_classification(ROWS, 8, n_informative=6, random_state=0)
    three, y3 = make_classification(ROWS, 8, n_informative=6, n_classes=3, random_state=0)
    value = np.abs(3 * two[:, 0] + two[:, 1] ** 2 + 0.3 * rng.standard_normal(ROWS)) + 0.1
    holes = two.copy()
    holes[rng.random(two.shape) < 0.1] = np.nan
    table = pd.DataFrame(
        {
            "s": rng.choice(list("xyzw"), ROWS),
            "t": rng.choice([f"c{i}" for i in range(20)], ROWS),
            "a": two[:, 0],
            "b": two[:, 1],
            "i": rng.integers(0, 5, ROWS),
        }
    )
    missing = table.copy()
    missing.loc[::7, "s"] = None
    missing.loc[::5, "a"] = np.nan
    words = ["good", "bad", "ugly", "the", "a", "movie"]
    text = pd.DataFrame({"x": [" ".join(rng.choice(words, 5)) for _ in range(ROWS)]})
    return {
        "two": (two, y2),
        "three": (three, y3),
        "positive three": (np.abs(three), y3),
        "value": (two, value),
        "positive": (np.abs(two) + 0.1, value),
        "values": (two, np.column_stack([value, two[:, 2] * 2])),
        "holes": (holes, y2),
        "table": (table, y2),
        "table three": (table, y3),
        "missing": (missing, y2),
        "missing value": (missing, value),
        "numbers": (table[["a", "b", "i"]], y2),
        "text": (text, y2),
        "words": (two, np.where(y2, "yes", "no")),
        "truth": (two, y2.astype(bool)),
        "one two": (two, y2 + 1),
        "single": (two.astype(np.float32), y2),
        "whole": (np.round(two * 3).astype(np.int64), y2),
        "several labels": (two, np.column_stack([y2, y3])),
    }


DATA = _data()


def _case(name: str, data: str, make: Callable[[], Any]) -> Case:
    return Case(name, make, *DATA[data])


def _both(name: str, make: Callable[[], Any]) -> list[Case]:
    return [_case(f"{name}, 2 classes", "two", make), _case(f"{name}, 3 classes", "three", make)]


def _forest() -> Any:
    return ensemble.RandomForestClassifier(10, random_state=0)


def _regressors() -> Any:
    return ensemble.RandomForestRegressor(10, random_state=0)


def _line() -> Any:
    return linear_model.LogisticRegression()


def _before(step: Callable[[], Any], data: str = "value") -> tuple[str, Callable[[], Any]]:
    last = linear_model.Ridge if data in ("value", "positive") else linear_model.LogisticRegression
    return data, lambda: make_pipeline(step(), last())


def _columns(*parts: Any, last: Any = None, **options: Any) -> Any:
    return make_pipeline(compose.ColumnTransformer(list(parts), **options), last or linear_model.LogisticRegression())


def linear_cases() -> list[Case]:
    cases: list[Case] = []
    for name in ("LogisticRegression", "LogisticRegressionCV", "SGDClassifier", "RidgeClassifier", "Perceptron"):
        kwargs = {"use_legacy_attributes": False} if name == "LogisticRegressionCV" else {}
        if "SGD" in name or name == "Perceptron":
            kwargs = {"random_state": 0}
        cases += _both(name, lambda name=name, kwargs=kwargs: getattr(linear_model, name)(**kwargs))
    for loss in ("log_loss", "modified_huber"):
        cases += _both(f"SGDClassifier {loss}", lambda loss=loss: linear_model.SGDClassifier(loss=loss, random_state=0))
    for name in (
        *("LinearRegression", "Ridge", "RidgeCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "Lars", "ElasticNet"),
        *("ElasticNetCV", "BayesianRidge", "ARDRegression", "HuberRegressor", "TheilSenRegressor", "SGDRegressor"),
        *("QuantileRegressor", "OrthogonalMatchingPursuit", "PoissonRegressor", "GammaRegressor", "TweedieRegressor"),
        "RANSACRegressor",
    ):
        seed = {"random_state": 0} if name in ("TheilSenRegressor", "SGDRegressor", "RANSACRegressor") else {}
        cases.append(_case(name, "value", lambda name=name, seed=seed: getattr(linear_model, name)(**seed)))
    for name in ("LinearRegression", "Ridge", "Lasso", "MultiTaskLasso"):
        cases.append(_case(f"{name}, 2 targets", "values", lambda name=name: getattr(linear_model, name)()))
    cases += _both("LinearDiscriminantAnalysis", discriminant_analysis.LinearDiscriminantAnalysis)
    cases += _both("LinearSVC", svm.LinearSVC)
    cases.append(_case("LinearSVR", "value", svm.LinearSVR))
    return cases


def kernel_cases() -> list[Case]:
    return [
        *_both("SVC", svm.SVC),
        *_both("NuSVC", svm.NuSVC),
        _case("SVR", "value", svm.SVR),
        _case("NuSVR", "value", svm.NuSVR),
        *_both("KNeighborsClassifier", neighbors.KNeighborsClassifier),
        _case("KNeighborsClassifier by distance", "three", lambda: neighbors.KNeighborsClassifier(weights="distance")),
        _case("KNeighborsRegressor", "value", neighbors.KNeighborsRegressor),
        _case("RadiusNeighborsRegressor", "value", lambda: neighbors.RadiusNeighborsRegressor(5.0)),
        _case("NearestCentroid", "two", neighbors.NearestCentroid),
        *_both("GaussianNB", naive_bayes.GaussianNB),
        *_both("BernoulliNB", naive_bayes.BernoulliNB),
        _case("MultinomialNB", "positive three", naive_bayes.MultinomialNB),
        _case("ComplementNB", "positive three", naive_bayes.ComplementNB),
        _case(
            "QuadraticDiscriminantAnalysis",
            "three",
            lambda: discriminant_analysis.QuadraticDiscriminantAnalysis(reg_param=0.1),
        ),
        _case("GaussianProcessRegressor", "value", gaussian_process.GaussianProcessRegressor),
        _case("PLSRegression", "value", cross_decomposition.PLSRegression),
        _case("KMeans", "two", lambda: cluster.KMeans(3, random_state=0)),
        _case("DummyClassifier", "two", dummy.DummyClassifier),
        *_both("MLPClassifier", lambda: neural_network.MLPClassifier(tol=1.0, random_state=0)),
        _case(
            "MLPClassifier tanh",
            "three",
            lambda: neural_network.MLPClassifier(activation="tanh", tol=1.0, random_state=0),
        ),
        _case("MLPRegressor", "value", lambda: neural_network.MLPRegressor(tol=1e3, random_state=0)),
        _case("MLPRegressor, 2 targets", "values", lambda: neural_network.MLPRegressor(tol=1e3, random_state=0)),
    ]


def tree_cases() -> list[Case]:
    cases: list[Case] = []
    for name in ("DecisionTree", "ExtraTree"):
        cases += _both(f"{name}Classifier", lambda name=name: getattr(tree, f"{name}Classifier")(random_state=0))
        make = lambda name=name: getattr(tree, f"{name}Regressor")(random_state=0)  # noqa: E731
        cases += [_case(f"{name}Regressor", "value", make), _case(f"{name}Regressor, 2 targets", "values", make)]
    for name in ("RandomForest", "ExtraTrees", "GradientBoosting", "AdaBoost", "Bagging", "HistGradientBoosting"):
        few = {"max_iter": 20} if name.startswith("Hist") else {"n_estimators": 20}
        for kind in ("Classifier", "Regressor"):
            make = lambda name=name, kind=kind, few=few: getattr(ensemble, name + kind)(random_state=0, **few)  # noqa: E731
            cases += _both(name + kind, make) if kind == "Classifier" else [_case(name + kind, "value", make)]
    return [
        *cases,
        _case("RandomForestClassifier, missing numbers", "holes", _forest),
        _case(
            "HistGradientBoostingClassifier, missing numbers",
            "holes",
            lambda: ensemble.HistGradientBoostingClassifier(max_iter=20),
        ),
        _case(
            "HistGradientBoostingClassifier, table",
            "numbers",
            lambda: ensemble.HistGradientBoostingClassifier(max_iter=20),
        ),
        _case(
            "GradientBoostingClassifier exponential",
            "two",
            lambda: ensemble.GradientBoostingClassifier(loss="exponential"),
        ),
        _case("RandomForestRegressor, 2 targets", "values", _regressors),
        _case("RandomForestClassifier, several labels", "several labels", _forest),
        _case("RandomForestClassifier, classes 1 and 2", "one two", _forest),
        _case("RandomForestClassifier, whole numbers", "whole", _forest),
        _case("IsolationForest", "two", lambda: ensemble.IsolationForest(random_state=0)),
    ]


def composed_cases() -> list[Case]:
    pair = [("a", _line()), ("b", _forest())]
    values = [("a", linear_model.Ridge()), ("b", _regressors())]
    boosted = [*pair, ("h", ensemble.HistGradientBoostingClassifier(max_iter=5))]
    calibrate = calibration.CalibratedClassifierCV
    target = compose.TransformedTargetRegressor
    return [
        *_both("VotingClassifier soft", lambda: ensemble.VotingClassifier(pair, voting="soft", weights=[2, 1])),
        *_both("VotingClassifier hard", lambda: ensemble.VotingClassifier(pair)),
        _case("VotingRegressor", "value", lambda: ensemble.VotingRegressor(values)),
        _case("StackingClassifier over HistGradientBoosting", "two", lambda: ensemble.StackingClassifier(boosted)),
        _case("StackingClassifier passthrough", "three", lambda: ensemble.StackingClassifier(pair, passthrough=True)),
        _case("StackingRegressor", "value", lambda: ensemble.StackingRegressor(values)),
        _case(
            "BaggingRegressor of some columns",
            "value",
            lambda: ensemble.BaggingRegressor(linear_model.Ridge(), max_features=0.5),
        ),
        _case("CalibratedClassifierCV sigmoid, forest", "two", lambda: calibrate(_forest())),
        _case("CalibratedClassifierCV sigmoid, 3 classes", "three", lambda: calibrate(_line())),
        _case("CalibratedClassifierCV sigmoid, LinearSVC", "two", lambda: calibrate(svm.LinearSVC())),
        _case("CalibratedClassifierCV isotonic", "two", lambda: calibrate(_forest(), method="isotonic")),
        _case("CalibratedClassifierCV temperature", "two", lambda: calibrate(_forest(), method="temperature")),
        _case("OneVsRestClassifier", "three", lambda: multiclass.OneVsRestClassifier(_line())),
        _case("OneVsOneClassifier", "three", lambda: multiclass.OneVsOneClassifier(_line())),
        _case("MultiOutputRegressor", "values", lambda: multioutput.MultiOutputRegressor(linear_model.Ridge())),
        _case("MultiOutputClassifier", "several labels", lambda: multioutput.MultiOutputClassifier(_line())),
        _case("RegressorChain", "values", lambda: multioutput.RegressorChain(linear_model.Ridge())),
        _case("GridSearchCV", "two", lambda: model_selection.GridSearchCV(_line(), {"C": [0.1, 1]})),
        _case("TunedThresholdClassifierCV", "two", lambda: model_selection.TunedThresholdClassifierCV(_line())),
        _case(
            "TransformedTargetRegressor log",
            "value",
            lambda: target(linear_model.Ridge(), func=np.log, inverse_func=np.exp),
        ),
        _case(
            "TransformedTargetRegressor scaled",
            "value",
            lambda: target(linear_model.Ridge(), transformer=preprocessing.StandardScaler()),
        ),
    ]


def transformer_cases() -> list[Case]:
    p = preprocessing
    steps: list[tuple[str, Callable[[], Any]]] = [
        *((name, getattr(p, name)) for name in ("StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler")),
        ("MinMaxScaler clip", lambda: p.MinMaxScaler(clip=True)),
        *((f"Normalizer {norm}", lambda norm=norm: p.Normalizer(norm)) for norm in ("l1", "l2", "max")),
        ("Binarizer", p.Binarizer),
        ("PowerTransformer yeo-johnson", p.PowerTransformer),
        ("PolynomialFeatures", p.PolynomialFeatures),
        ("PolynomialFeatures interactions", lambda: p.PolynomialFeatures(3, interaction_only=True, include_bias=False)),
        ("KBinsDiscretizer onehot", lambda: p.KBinsDiscretizer(quantile_method="averaged_inverted_cdf")),
        (
            "KBinsDiscretizer ordinal",
            lambda: p.KBinsDiscretizer(encode="ordinal", quantile_method="averaged_inverted_cdf"),
        ),
        ("QuantileTransformer", lambda: p.QuantileTransformer(n_quantiles=100)),
        ("SplineTransformer", p.SplineTransformer),
        ("PCA", lambda: decomposition.PCA(3)),
        ("PCA whiten", lambda: decomposition.PCA(3, whiten=True)),
        ("TruncatedSVD", lambda: decomposition.TruncatedSVD(3, random_state=0)),
        ("KernelPCA", lambda: decomposition.KernelPCA(3)),
        ("Nystroem", lambda: kernel_approximation.Nystroem(random_state=0)),
        ("FeatureUnion", lambda: make_union(p.StandardScaler(), decomposition.PCA(2))),
        ("FunctionTransformer lambda", lambda: p.FunctionTransformer(lambda x: x * 2)),
    ]
    return [
        *(_case(name, *_before(make)) for name, make in steps),
        _case("PowerTransformer box-cox", *_before(lambda: p.PowerTransformer("box-cox"), "positive")),
        _case("FunctionTransformer sqrt", *_before(lambda: p.FunctionTransformer(np.sqrt), "positive")),
        _case("FunctionTransformer log1p", *_before(lambda: p.FunctionTransformer(np.log1p), "positive")),
        _case("SelectKBest", *_before(lambda: feature_selection.SelectKBest(k=3), "two")),
        _case("SelectFromModel", *_before(lambda: feature_selection.SelectFromModel(_forest()), "two")),
        _case("VarianceThreshold", *_before(feature_selection.VarianceThreshold, "two")),
        _case("RFE", *_before(lambda: feature_selection.RFE(_line(), n_features_to_select=3), "two")),
        _case("SimpleImputer with indicator", *_before(lambda: impute.SimpleImputer(add_indicator=True), "holes")),
        _case("KNNImputer", *_before(impute.KNNImputer, "holes")),
        _case(
            "MissingIndicator", *_before(lambda: make_union(impute.SimpleImputer(), impute.MissingIndicator()), "holes")
        ),
    ]


def column_cases() -> list[Case]:
    p, one_hot = preprocessing, preprocessing.OneHotEncoder
    hist = ensemble.HistGradientBoostingClassifier(max_iter=5)
    kept = ("n", "passthrough", ["a", "b"])
    cases = [
        _case(f"OneHotEncoder {name}", "table", lambda step=step: _columns(("o", step, ["s", "t", "i"]), kept))
        for name, step in {
            "error": one_hot(),
            "ignore": one_hot(handle_unknown="ignore"),
            "infrequent": one_hot(handle_unknown="infrequent_if_exist", min_frequency=40),
            "max_categories": one_hot(max_categories=3),
            "drop first": one_hot(drop="first"),
            "drop if_binary": one_hot(drop="if_binary"),
        }.items()
    ]
    cases += [
        _case(
            f"OrdinalEncoder {name}",
            "missing",
            lambda step=step: _columns(("o", step, ["s", "t", "i"]), ("n", "passthrough", ["b"]), last=hist),
        )
        for name, step in {
            "error": p.OrdinalEncoder(),
            "unknown": p.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
            "unknown NaN": p.OrdinalEncoder(
                handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=-5
            ),
        }.items()
    ]
    folds = model_selection.KFold(5, shuffle=True, random_state=0)
    numbers = ("n", impute.SimpleImputer(strategy="median", add_indicator=True), ["a"])
    constant = make_pipeline(impute.SimpleImputer(strategy="constant", fill_value="zz"), one_hot())
    frequent = make_pipeline(impute.SimpleImputer(strategy="most_frequent"), one_hot())
    return [
        *cases,
        _case(
            "OneHotEncoder missing text",
            "missing",
            lambda: _columns(("o", one_hot(handle_unknown="ignore"), ["s", "t"])),
        ),
        _case("TargetEncoder, 2 classes", "table", lambda: _columns(("o", p.TargetEncoder(cv=folds), ["s", "t", "i"]))),
        _case(
            "TargetEncoder, 3 classes", "table three", lambda: _columns(("o", p.TargetEncoder(cv=folds), ["s", "t"]))
        ),
        _case(
            "TargetEncoder missing text",
            "missing value",
            lambda: _columns(("o", p.TargetEncoder(cv=folds), ["s", "t"]), last=linear_model.Ridge()),
        ),
        _case("SimpleImputer text constant", "missing", lambda: _columns(("o", constant, ["s", "t"]), numbers)),
        _case("SimpleImputer text most_frequent", "missing", lambda: _columns(("o", frequent, ["s", "t"]))),
        _case("TfidfVectorizer", "text", lambda: _columns(("v", TfidfVectorizer(), "x"))),
        _case("CountVectorizer", "text", lambda: _columns(("v", CountVectorizer(), "x"))),
        _case("text labels", "words", _line),
        _case("truth labels", "truth", _line),
        _case("float32 matrix, forest", "single", lambda: make_pipeline(p.StandardScaler(), _forest())),
        _case("float32 matrix, linear", "single", lambda: make_pipeline(p.StandardScaler(), _line())),
    ]


def all_cases() -> list[Case]:
    """Every case, by family."""
    families = (linear_cases, kernel_cases, tree_cases, composed_cases, transformer_cases, column_cases)
    return [case for family in families for case in family()]
