"""Both clients against a real node: every kind of data, and what the node says of bad data."""

import asyncio
import threading

import numpy as np
import pandas as pd
import pytest

import penstock


def close(one, other):
    return np.allclose(np.asarray(one, float), other, rtol=1e-4, atol=1e-5)


def test_a_matrix(ask, node, matrix):
    x, model = matrix
    answer = ask(node, "predict", "matrix", x[:50])
    assert isinstance(answer, penstock.Prediction)
    assert np.array_equal(answer.predictions, model.predict(x[:50]))
    assert answer.predictions.dtype == model.predict(x).dtype
    assert close(answer.probabilities, model.predict_proba(x[:50]))
    assert answer.classes == (0, 3)
    assert (answer.endpoint, answer.version, answer.arm, answer.reason) == ("matrix", "matrix/1", "arm1", "weight")
    assert answer.id
    assert len(answer) == len(list(answer)) == 50
    assert answer[0] == answer.predictions[0]


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda x: x.astype(">f8"), lambda x: x[::-1][::-1]])
def test_a_matrix_in_any_layout_of_memory(ask, node, matrix, layout):
    x, model = matrix
    assert close(ask(node, "predict", "matrix", layout(x)).probabilities, model.predict_proba(x))


def test_a_frame(ask, node, people, churn):
    answer = ask(node, "predict", "churn", people)
    assert list(answer) == churn.predict(people).tolist()
    assert close(answer.probabilities, churn.predict_proba(people))
    assert answer.classes == ("no", "yes")


@pytest.mark.parametrize("kind", ["category", "object", "string", "str"])
def test_a_frame_with_text_of_any_kind(ask, node, people, churn, kind):
    assert list(ask(node, "predict", "churn", people.astype({"city": kind}))) == churn.predict(people).tolist()


def test_a_frame_with_nullable_integers(ask, node, people, churn):
    assert list(ask(node, "predict", "churn", people.astype({"age": "Int64"}))) == churn.predict(people).tolist()


def test_a_dict_of_arrays_and_lists(ask, node, people, churn):
    data = {"age": people["age"].tolist(), "income": people["income"], "city": people["city"].to_numpy("U")}
    assert list(ask(node, "predict", "churn", data)) == churn.predict(people).tolist()


def test_rows(ask, node, people, churn):
    rows = people.head(20).to_dict("records")
    answer = ask(node, "predict", "churn", rows)
    assert answer.predictions == churn.predict(people.head(20)).tolist()
    assert close(answer.probabilities, churn.predict_proba(people.head(20)))
    assert (answer.classes, answer.version, len(answer)) == (("no", "yes"), "churn/1", 20)


def test_rows_with_numbers_of_numpy(ask, node, people, churn):
    row = {"age": np.int32(31), "income": np.float32(1000), "city": np.str_("Oslo")}
    plain = {"age": 31, "income": 1000.0, "city": "Oslo"}
    assert ask(node, "predict", "churn", [row]).probabilities == ask(node, "predict", "churn", [plain]).probabilities


def test_rows_of_a_matrix(ask, node, matrix):
    x, model = matrix
    answer = ask(node, "predict", "matrix", [{"x": row} for row in x[:3]])
    assert answer.predictions == model.predict(x[:3]).tolist()


def test_missing_values_mean_the_same_in_every_form(ask, node, gaps):
    frame, model = gaps
    frame = frame.head(40)
    expected = model.predict(frame)
    assert close(ask(node, "predict", "gaps", frame).predictions, expected)
    assert close(ask(node, "predict", "gaps", {name: frame[name].to_numpy() for name in frame}).predictions, expected)
    rows = frame.to_dict("records")
    assert any(value != value for row in rows for value in row.values())
    nones = [{name: None if value != value else value for name, value in row.items()} for row in rows]
    for form in (rows, nones):
        assert close(ask(node, "predict", "gaps", form).predictions, expected)
        assert close(ask(node, "predict", "gaps", form, version="1").predictions, expected)


@pytest.mark.parametrize("version", ["2", "matrix/2"])
def test_a_pinned_version_answers_every_kind_of_data(ask, node, matrix, version):
    x, _ = matrix
    arrays = ask(node, "predict", "matrix", x[:5], version=version)
    rows = ask(node, "predict", "matrix", [{"x": row.tolist()} for row in x[:5]], version=version)
    assert (arrays.version, rows.version, arrays.reason) == ("matrix/2", "matrix/2", "version")
    assert (arrays.predictions.tolist(), arrays.probabilities.tolist()) == (rows.predictions, rows.probabilities)
    assert rows.classes == (0, 3)
    assert rows.probabilities != ask(node, "predict", "matrix", [{"x": row} for row in x[:5]]).probabilities


def test_pinned_rows_of_a_table(ask, node, people, churn):
    rows = people.head(9).to_dict("records")
    pinned = ask(node, "predict", "churn", rows, version="churn/1")
    free = ask(node, "predict", "churn", rows)
    assert (pinned.predictions, pinned.probabilities) == (free.predictions, free.probabilities)


def test_infer_is_the_protocol(ask, node, matrix):
    x, model = matrix
    outputs = ask(node, "infer", "matrix", {"x": x[:7].astype(np.float32)}, outputs=["probabilities"], id="call-1")
    assert list(outputs) == ["probabilities"]
    assert outputs["probabilities"].dtype == np.float64
    assert close(outputs["probabilities"], model.predict_proba(x[:7]))
    assert set(ask(node, "infer", "matrix", {"x": x})) == {"predictions", "probabilities"}
    assert ask(node, "infer", "churn", {"age": [31], "income": [1.0], "city": ["Oslo"]})["predictions"].shape == (1,)


def test_a_call_keeps_its_id(ask, node, matrix, people):
    assert ask(node, "predict", "matrix", matrix[0], id="mine-1").id == "mine-1"
    assert ask(node, "predict", "churn", people.head(1).to_dict("records"), id="mine-2").id == "mine-2"


def test_what_a_node_says_of_itself(ask, node):
    assert ask(node, "models") == ["churn", "gaps", "matrix"]
    metadata = ask(node, "metadata", "matrix")
    assert (metadata["versions"], metadata["classes"]) == (["1", "2"], [0, 3])
    assert metadata["inputs"] == [{"name": "x", "datatype": "FP64", "shape": [-1, 4]}]
    assert ask(node + "/", "ready")
    assert ask(node, "live")


ROW = {"age": 31, "income": 1.0, "city": "Oslo"}
BAD = {
    "unknown endpoint": (("nobody", [ROW]), {}, penstock.NotFound, "unknown-endpoint"),
    "unknown version": (("churn", pd.DataFrame([ROW])), {"version": "9"}, penstock.NotFound, "unknown-version"),
    "unknown version, rows": (("churn", [ROW]), {"version": "9"}, penstock.NotFound, "unknown-version"),
    "endpoint with a slash": (("a/../b?c#d", [ROW]), {}, penstock.NotFound, "unknown-endpoint"),
    "missing column": (("churn", [{"age": 31}]), {}, penstock.InvalidInput, "invalid-rows"),
    "missing column, pinned": (("churn", [{"age": 31}]), {"version": "1"}, penstock.InvalidInput, "wrong-inputs"),
    "missing column, frame": (("churn", pd.DataFrame({"age": [31]})), {}, penstock.InvalidInput, "wrong-inputs"),
    "unseen category": (("churn", [{**ROW, "city": "Paris"}]), {}, penstock.InvalidInput, "unseen-category"),
    "fraction": (("churn", [{**ROW, "age": 1.5}]), {"version": "1"}, penstock.InvalidInput, "invalid-value"),
    "no rows": (("churn", []), {}, penstock.InvalidInput, "empty-batch"),
    "no rows, pinned": (("churn", []), {"version": "1"}, penstock.InvalidInput, "empty-batch"),
    "no rows, matrix": (("matrix", np.zeros((0, 4))), {}, penstock.InvalidInput, "empty-batch"),
    "wrong width": (("matrix", np.zeros((2, 5))), {}, penstock.InvalidInput, "wrong-shape"),
    "one dimension": (("matrix", np.zeros(4)), {}, penstock.InvalidInput, "wrong-shape"),
    "missing value": (("matrix", np.full((1, 4), np.nan)), {}, penstock.InvalidInput, "missing-value"),
    "infinite value": (("matrix", np.full((1, 4), np.inf)), {}, penstock.InvalidInput, "invalid-value"),
    "missing text": (("churn", [{**ROW, "city": None}]), {"version": "1"}, penstock.InvalidInput, "missing-value"),
}  # fmt: skip


@pytest.mark.parametrize(("args", "kwargs", "kind", "code"), BAD.values(), ids=BAD)
def test_bad_input_is_the_class_and_code_of_the_failure(ask, node, time, args, kwargs, kind, code):
    with pytest.raises(kind) as raised:
        ask(node, "predict", *args, **kwargs)
    assert type(raised.value) is kind
    assert raised.value.code == code
    assert not time.pauses


def test_text_that_is_not_utf8_is_refused_by_the_node(ask, node):
    with pytest.raises(penstock.InvalidInput) as raised:
        ask(node, "infer", "churn", {"age": [31], "income": [1.0], "city": [b"\xff"]})
    assert raised.value.code == "not-text"


def test_a_node_that_is_not_there(ask):
    with pytest.raises(penstock.Unavailable) as raised:
        ask("http://127.0.0.1:1", "predict", "churn", [ROW])
    assert raised.value.code == "unreachable"
    assert "http://127.0.0.1:1" in raised.value.message
    assert "penstock serve" in raised.value.hint
    assert not ask("http://127.0.0.1:1", "ready")
    assert not ask("http://127.0.0.1:1", "live")


def test_threads_share_a_client_and_each_gets_its_own_rows(node, matrix):
    x, model = matrix
    expected = model.predict_proba(x)
    wrong = []
    with penstock.Client(node) as client:

        def work(first):
            for row in range(first, len(x), 8):
                if not close(client.predict("matrix", x[row : row + 1]).probabilities, expected[row : row + 1]):
                    wrong.append(row)

        threads = [threading.Thread(target=work, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_tasks_share_a_client_and_each_gets_its_own_rows(node, matrix):
    x, model = matrix

    async def main():
        async with penstock.AsyncClient(node) as client:
            return await asyncio.gather(*[client.predict("matrix", x[row : row + 1]) for row in range(len(x))])

    answers = asyncio.run(main())
    assert close(np.concatenate([answer.probabilities for answer in answers]), model.predict_proba(x))
