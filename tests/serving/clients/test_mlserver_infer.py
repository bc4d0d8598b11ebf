"""MLServer's own command `mlserver infer`, as it is, against a real node: files of requests, alone and in batches."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tests.serving.bundles import ELEMENTS, some
from tests.serving.nodes import LIMIT_S

root = pytest.importorskip("mlserver.cli.main").root
CliRunner = pytest.importorskip("click.testing").CliRunner
# Its own warnings: the command is deprecated, and says so by a deprecated function.
pytestmark = pytest.mark.filterwarnings("ignore")


def in_this_process(words):
    """The command's own function: a program of its own takes seconds to import what it needs."""
    done = CliRunner().invoke(root, words)
    assert done.exit_code == 0, done.output
    return done.output


def as_a_program(words):
    program = Path(sys.executable).with_name("mlserver")
    done = subprocess.run([program, *words], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def infer(node, tmp_path):
    """`infer(model, requests, *words)`: the answers by the index of their request. `how` runs the command."""

    def run(model, requests, *words, how=in_this_process):
        asked, answered = tmp_path / "requests.jsonl", tmp_path / "answers.jsonl"
        asked.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in requests))
        words = ["infer", "--url", f"127.0.0.1:{node.port}", "--model-name", model, "--retries", "1",
                 "--input-data-path", str(asked), "--output-data-path", str(answered), *words]  # fmt: skip
        said = how(words)
        lines = [json.loads(line) for line in answered.read_text().splitlines()]
        assert len(lines) == len(requests), said
        return {line["parameters"]["batch_index"]: line for line in lines}

    return run


def tensor(name, values, datatype):
    data = values.ravel().tolist()
    return {"name": name, "shape": list(values.shape), "datatype": datatype, "data": data}


def rows(count, **fields):
    return [
        {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [number] * 4}], **fields}
        for number in range(count)
    ]


def test_the_program(infer):
    [answer] = infer("sum", rows(1), how=as_a_program).values()
    assert answer["outputs"][0]["data"] == [100.0]


@pytest.mark.parametrize("words", [(), ("--batch-size", "8")], ids=["alone", "in batches"])
@pytest.mark.parametrize("binary", [(), ("--binary-data",)], ids=["json", "binary"])
def test_a_file_of_requests(infer, words, binary):
    answers = infer("sum", rows(30), *words, *binary)
    assert len(answers) == 30
    for number, answer in answers.items():
        assert (answer["model_name"], answer["model_version"]) == ("sum", "1")
        [output] = answer["outputs"]
        assert (output["name"], output["datatype"], output["data"]) == ("predictions", "FP32", [100.0 + 4 * number])


@pytest.mark.parametrize("datatype", sorted(ELEMENTS))
@pytest.mark.parametrize("binary", [(), ("--binary-data",)], ids=["json", "binary"])
def test_every_datatype(infer, datatype, binary):
    values = some(datatype, (3, 2))
    [answer] = infer(f"same-{datatype}", [{"inputs": [tensor("x", values, datatype)]}], *binary).values()
    [output] = answer["outputs"]
    assert (output["datatype"], output["shape"], output["data"]) == (datatype, [3, 2], values.ravel().tolist())


def test_several_inputs_and_chosen_outputs(infer):
    a, b = some("FP32", (3,)), some("FP32", (3,), seed=2)
    asked = {"inputs": [tensor("a", a, "FP32"), tensor("b", b, "FP32")], "outputs": [{"name": "total"}], "id": "mine"}
    [answer] = infer("pair", [asked]).values()
    assert answer["id"] == "mine"
    [output] = answer["outputs"]
    assert output["name"] == "total"
    assert output["data"] == pytest.approx((a + b).tolist())


def test_errors_stand_in_their_lines(infer):
    wrong = {"inputs": [{"name": "y", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    answers = infer("sum", [*rows(2), wrong, {"nothing": 1}])
    assert answers[0]["outputs"][0]["data"] == [100.0]
    assert answers[1]["outputs"][0]["data"] == [104.0]
    assert "missing 'x'" in answers[2]["error"]["msg"]
    assert "inputs" in str(answers[3]["error"]["msg"])
    [answer] = infer("none", rows(1)).values()
    assert "no endpoint" in answer["error"]["msg"]


def test_names_of_requests_and_headers_go_along(infer, node):
    [answer] = infer("sum", rows(1, id="named-by-the-file"), "-H", "penstock-arm: arm-1").values()
    assert (answer["id"], answer["outputs"][0]["data"]) == ("named-by-the-file", [200.0])
    node.until_event("request", id="named-by-the-file")
