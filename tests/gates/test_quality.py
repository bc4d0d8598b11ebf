"""Quality against numbers and against the champion: good passes, subtly bad fails, few rows decide nothing."""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import accuracy_score, f1_score, log_loss, roc_auc_score
from tests.gates.conftest import people

from penstock.gates import quality
from penstock.gates.plan import Bound, QualitySettings
from penstock.gates.run import run_gate


def settings(data, metrics, **more):
    bounds = {name: Bound(**bound) for name, bound in metrics.items()}
    return QualitySettings(data=data, target="left", metrics=bounds, **{"resamples": 100, **more})


NOT_WORSE = {"accuracy": {"not_worse_than": 0.02}, "roc_auc": {"not_worse_than": 0.02}}


def test_a_good_candidate_passes(candidate, equal, champion, held_out):
    subject = candidate(equal, champion=champion)
    found = quality.check(subject, settings(held_out(3000), NOT_WORSE | {"f1": {"min": 0.5}}))
    assert found.verdict == "pass", found.summary
    assert found.evidence["rows"] == 3000
    assert {one["method"] for one in found.evidence["judged"]} == {"Tango's score", "bootstrap"}


def test_one_trained_on_other_units_fails(candidate, unscaled, champion, held_out):
    found = quality.check(candidate(unscaled, champion=champion), settings(held_out(500), NOT_WORSE))
    assert found.verdict == "fail"
    assert "accuracy" in found.summary
    assert "champion" in found.summary


def test_an_equal_one_on_little_data_is_inconclusive(candidate, equal, champion, held_out):
    found = quality.check(candidate(equal, champion=champion), settings(held_out(60), NOT_WORSE))
    assert found.verdict == "inconclusive"


@pytest.mark.parametrize("metric", NOT_WORSE)
def test_even_the_very_same_model_is_inconclusive_on_little_data(candidate, champion, held_out, metric):
    subject, bound = candidate(champion, champion=champion), {metric: NOT_WORSE[metric]}
    few = quality.check(subject, settings(held_out(60), bound))
    many = quality.check(subject, settings(held_out(500), bound))
    assert (few.verdict, many.verdict) == ("inconclusive", "pass")
    too_few = quality.check(subject, settings(held_out(30), bound))
    assert "fewer than 50 rows" in too_few.summary


@pytest.mark.parametrize(
    ("bound", "verdict"),
    [({"min": 0.5}, "pass"), ({"min": 0.99}, "fail"), ({"max": 0.99}, "pass"), ({"max": 0.5}, "fail")],
)
@pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy"])
def test_bounds_by_numbers(candidate, champion, held_out, metric, bound, verdict):
    assert quality.check(candidate(champion), settings(held_out(500), {metric: bound})).verdict == verdict


def test_a_bound_that_lies_within_the_interval_is_inconclusive(candidate, champion, held_out):
    path = held_out(500)
    first = quality.check(candidate(champion), settings(path, {"accuracy": {"min": 0.0}}))
    value = first.evidence["judged"][0]["value"]
    assert quality.check(candidate(champion), settings(path, {"accuracy": {"min": value}})).verdict == "inconclusive"


def test_metrics_are_scikit_learn_s_own(candidate, champion, held_out):
    rows, subject = people(500, seed=99), candidate(champion)
    answers = subject.answer_rows({name: rows[name].to_numpy() for name in ("age", "income")}
                                  | {"city": rows["city"].to_numpy(object)})  # fmt: skip
    yes = (rows["left"] == "yes").to_numpy()
    expected = {
        "accuracy": accuracy_score(rows["left"], answers["predictions"]),
        "f1": f1_score(yes, answers["predictions"] == "yes"),
        "roc_auc": roc_auc_score(yes, answers["probabilities"][:, 1]),
        "log_loss": log_loss(yes, answers["probabilities"]),
        "neg_log_loss": -log_loss(yes, answers["probabilities"]),
    }
    found = quality.check(subject, settings(held_out(500), {name: {"min": -9.0} for name in expected}))
    got = {one["metric"]: one["value"] for one in found.evidence["judged"]}
    assert got == pytest.approx(expected, abs=1e-6)


def test_a_slice_is_judged_by_itself(candidate, champion, folder):
    rows = people(600, seed=99)
    # In Rome everything came out the other way round.
    turned = rows["left"].map({"yes": "no", "no": "yes"})
    rows["left"] = rows["left"].where(rows["city"] != "Rome", turned)
    path = folder / "turned.csv"
    rows.to_csv(path, index=False)
    found = quality.check(candidate(champion), settings(str(path), {"accuracy": {"min": 0.5}}, slices=("city",)))
    verdicts = {one.get("slice", ""): one["verdict"] for one in found.evidence["judged"]}
    assert found.verdict == "fail"
    assert verdicts["city is Rome"] == "fail"
    assert verdicts["city is Oslo"] == verdicts[""] == "pass"


def test_a_sensitive_slice_is_not_named(candidate, pack, train, folder, held_out, champion):
    from tests.gates.conftest import model

    x = train.drop(columns="left")
    bundle = pack(model().fit(x, train["left"]), x, "private", sensitive=("city",))
    found = quality.check(candidate(bundle), settings(held_out(500), {"accuracy": {"min": 0.5}}, slices=("city",)))
    assert "value 1 of 3" in str(found.evidence)
    assert not any(city in str(found) for city in ("Oslo", "Rome", "Bern"))


def test_without_a_champion_there_is_nothing_to_be_worse_than(candidate, champion, held_out):
    found = quality.check(candidate(champion), settings(held_out(60), NOT_WORSE))
    assert found.verdict == "pass"
    assert "no champion" in found.summary


def test_a_champion_of_another_signature_is_judged_where_it_can_be(candidate, champion, pack, held_out):
    rows = people(300, seed=3)
    other = pack(LinearRegression().fit(rows[["age"]], rows["income"]), rows[["age"]], "other")
    found = quality.check(candidate(champion, champion=other), settings(held_out(300), NOT_WORSE))
    assert found.verdict == "inconclusive"
    assert "other classes" in found.summary


def test_a_champion_that_cannot_answer_the_rows_is_no_failure_of_the_candidate(candidate, champion, pack, held_out):
    from tests.gates.conftest import model

    rows = people(300, seed=3).rename(columns={"income": "salary"})
    estimator = model().set_params(columntransformer__transformers=[("n", "passthrough", ["age", "salary"])])
    other = pack(estimator.fit(rows[["age", "salary"]], rows["left"]), rows[["age", "salary"]], "salaries")
    found = quality.check(candidate(champion, champion=other), settings(held_out(300), NOT_WORSE))
    assert found.verdict == "inconclusive"
    assert "'salary'" in found.summary


def test_regression_has_errors_that_are_better_when_smaller(candidate, pack, folder):
    rng = np.random.default_rng(0)
    x = pd.DataFrame({"a": rng.normal(size=600), "b": rng.normal(size=600)})
    y = 3 * x["a"] - x["b"] + rng.normal(0, 0.1, 600)
    good = pack(LinearRegression().fit(x, y), x, "good")
    bad = pack(LinearRegression().fit(x, y + x["b"]), x, "bad")
    path = folder / "numbers.csv"
    x.assign(left=y).to_csv(path, index=False)
    bound = {"mean_absolute_error": {"max": 0.2, "not_worse_than": 0.01}, "r2": {"min": 0.95}}
    assert quality.check(candidate(good, champion=bad), settings(str(path), bound)).verdict == "pass"
    found = quality.check(candidate(bad, champion=good), settings(str(path), bound))
    assert [one["verdict"] for one in found.evidence["judged"]] == ["fail", "fail", "fail"]


def test_more_rows_than_wanted_are_chosen_by_the_seed(candidate, champion, held_out):
    ask = {"accuracy": {"min": 0.0}}
    found = [quality.check(candidate(champion), settings(held_out(500), ask, max_rows=100, seed=s)) for s in (1, 1, 2)]
    values = [one.evidence["judged"][0]["value"] for one in found]
    assert (found[0].evidence["rows"], found[0].evidence["chosen_of"]) == (100, 500)
    assert values[0] == values[1]


def refusal(candidate, champion, data, metrics, **more):
    found = run_gate("quality", candidate(champion), settings(data, metrics, **more), 60)
    assert found.verdict == "inconclusive"
    return found


def written(folder, name, frame):
    path = folder / name
    frame.to_csv(path, index=False)
    return str(path)


ACCURACY = {"accuracy": {"min": 0.5}}


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        (lambda rows: rows.drop(columns="left"), "unknown-column", "'left'"),
        (lambda rows: rows.drop(columns="city"), "unknown-column", "'city'"),
        (lambda rows: rows[:0], "empty-sample", "0 rows"),
        (lambda rows: rows.assign(left=None), "empty-sample", "has a value in 'left'"),
        (lambda rows: rows.assign(left="maybe"), "wrong-target", "'no', 'yes'"),
        (lambda rows: rows.assign(income=None), "", ""),
        (lambda rows: rows.assign(age="old"), "wrong-datatype", "'age'"),
    ],
)
def test_unusable_data_is_inconclusive_and_says_why(candidate, champion, folder, change, code, said):
    path = written(folder, "unusable.csv", change(people(100, seed=99)))
    found = refusal(candidate, champion, path, ACCURACY)
    assert found.code == code or not code
    assert said in found.summary


def test_a_file_that_is_not_there_or_no_table_is_inconclusive(candidate, champion, folder):
    assert refusal(candidate, champion, str(folder / "nowhere.csv"), ACCURACY).code == "unknown-file"
    broken = folder / "broken.parquet"
    broken.write_bytes(b"PAR1 not really")
    assert refusal(candidate, champion, str(broken), ACCURACY).code == "unreadable-sample"


def test_one_class_only_is_inconclusive_where_the_metric_needs_two(candidate, champion, folder):
    path = written(folder, "one.csv", people(200, seed=99).query("left == 'yes'"))
    found = refusal(candidate, champion, path, {"roc_auc": {"min": 0.5}})
    assert found.code == "undefined-metric"


def test_an_unknown_metric_names_the_nearest(candidate, champion, held_out):
    found = refusal(candidate, champion, held_out(60), {"roc_acu": {"min": 0.5}})
    assert found.code == "unknown-metric"
    assert "'roc_auc'" in found.summary


def test_too_many_slices_are_refused(candidate, champion, held_out):
    assert refusal(candidate, champion, held_out(500), ACCURACY, slices=("income",)).code == "too-many-slices"
    assert refusal(candidate, champion, held_out(500), ACCURACY, slices=("no",)).code == "unknown-column"


def test_rows_without_an_answer_are_left_out_and_counted(candidate, champion, folder):
    rows = people(300, seed=99)
    rows.loc[:49, "left"] = None
    found = quality.check(candidate(champion), settings(written(folder, "some.csv", rows), ACCURACY))
    assert (found.evidence["rows"], found.evidence["unlabelled"]) == (250, 50)


# What pandas 3 says of its lighter engine, which is the one that packing installs.
@pytest.mark.filterwarnings("ignore:The 'fastparquet' engine is deprecated")
def test_parquet_and_csv_of_the_same_rows_agree(candidate, champion, folder, held_out):
    path = folder / "rows.parquet"
    people(500, seed=99).to_parquet(path, engine="fastparquet")
    found = [quality.check(candidate(champion), settings(one, ACCURACY)) for one in (held_out(500), str(path))]
    assert found[0].evidence["judged"] == found[1].evidence["judged"]


def test_the_gate_stops_at_its_limit(candidate, champion, held_out):
    found = run_gate("quality", candidate(champion), settings(held_out(500), {"f1": {"min": 0.5}}), 1e-9)
    assert found.code == "gate-timeout"
