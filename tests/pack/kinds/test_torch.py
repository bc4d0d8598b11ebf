"""PyTorch programs: exported, scripted, and files that hold none."""

import pickle
import zipfile

import numpy as np
import pytest
from tests.pack.kinds.served import served

from penstock.core.errors import InvalidInput, ModelFailed, PenstockError, Refused, Unsupported
from penstock.pack import pack

torch = pytest.importorskip("torch")
# PyTorch calls TorchScript deprecated, and warns of itself.
pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(5)
ROWS = RNG.normal(size=(40, 4)).astype(np.float32)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 3)
        )

    def forward(self, x):
        return torch.softmax(self.layers(x), 1)


class Two(torch.nn.Module):
    def forward(self, left, right):
        return {"total": left + right, "largest": left.amax(1)}


NET = Net().eval()
ROWS_VARY = {0: torch.export.Dim("rows")}


def _expected(rows):
    with torch.inference_mode():
        return NET(torch.from_numpy(rows)).numpy()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "net.pt2"
    torch.export.save(torch.export.export(NET, (torch.zeros(2, 4),), dynamic_shapes={"x": ROWS_VARY}), path)
    return path


@pytest.fixture(scope="module")
def scripted(tmp_path_factory):
    path = tmp_path_factory.mktemp("torch") / "net.pt"
    torch.jit.script(NET).save(path)
    return path


@pytest.mark.parametrize("sample", [None, ROWS], ids=["no sample", "sample"])
def test_an_exported_program_becomes_onnx_without_a_sample_or_with_one(exported, sample, tmp_path):
    manifest, model = served(pack(exported, sample, name="m", out=tmp_path / "out"))
    assert manifest.kind == "torch.export"
    assert (manifest.original.runtime, manifest.served.runtime, manifest.builtin_operators) == ("torch", "onnx", True)
    assert manifest.evidence.converted
    assert manifest.evidence.rows_compared >= 40
    assert manifest.batching.allowed
    assert [(f.name, f.datatype, f.shape) for f in manifest.signature.inputs] == [("x", "FP32", (-1, 4))]
    assert [(f.name, f.shape) for f in manifest.signature.outputs] == [("output", (-1, 3))]
    assert np.allclose(model.run({"x": ROWS[:5]})["output"], _expected(ROWS[:5]), atol=1e-5)


def test_what_serves_a_converted_program_needs_no_torch(exported, tmp_path):
    packed = pack(exported, name="m", out=tmp_path / "out")
    lock = (packed.path / "requirements.txt").read_text()
    assert "onnxruntime==" in lock
    assert "torch" not in lock


def test_a_program_of_several_inputs_and_named_outputs(tmp_path):
    path = tmp_path / "two.pt2"
    shapes = {"left": ROWS_VARY, "right": ROWS_VARY}
    torch.export.save(torch.export.export(Two(), (torch.ones(2, 3), torch.ones(2, 3)), dynamic_shapes=shapes), path)
    manifest, model = served(pack(path, name="m", out=tmp_path / "out"))
    assert manifest.served.runtime == "onnx"
    answers = model.run({"left": ROWS[:, :3], "right": ROWS[:, 1:]})
    assert np.allclose(answers["total"], ROWS[:, :3] + ROWS[:, 1:])
    assert np.array_equal(answers["largest"], ROWS[:, :3].max(1))


def test_a_program_exported_for_one_row_is_not_batched(tmp_path):
    path = tmp_path / "one.pt2"
    torch.export.save(torch.export.export(NET, (torch.zeros(1, 4),)), path)
    manifest, model = served(pack(path, name="m", out=tmp_path / "out"))
    assert not manifest.signature.batched
    assert not manifest.batching.allowed
    assert manifest.golden.calls == 4
    assert manifest.evidence.converted
    assert np.allclose(model.run({"x": ROWS[:1]})["output"], _expected(ROWS[:1]), atol=1e-5)


def test_the_original_is_served_where_it_is_asked_for(exported, tmp_path):
    manifest, model = served(pack(exported, name="m", out=tmp_path / "out", convert=False))
    assert (manifest.served.runtime, manifest.served.path) == ("torch", "original/model.pt2")
    assert "torch==" in (tmp_path / "out" / "requirements.txt").read_text()
    assert np.allclose(model.run({"x": ROWS})["output"], _expected(ROWS), atol=1e-6)


def test_torchscript_becomes_onnx_when_it_is_shown_a_sample(scripted, tmp_path):
    manifest, model = served(pack(scripted, ROWS, name="m", out=tmp_path / "out"))
    assert manifest.kind == "torch.jit.Net"
    assert manifest.served.runtime == "onnx"
    assert np.allclose(model.run({"x": ROWS[:7]})["output"], _expected(ROWS[:7]), atol=1e-5)


def test_torchscript_that_onnx_lacks_is_served_by_libtorch(tmp_path):
    class Odd(torch.nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x.reshape(-1, 2, 2)).real

    torch.jit.script(Odd()).save(tmp_path / "odd.pt")
    manifest, model = served(pack(tmp_path / "odd.pt", ROWS, name="m", out=tmp_path / "out"))
    assert manifest.served.runtime == "torch"
    assert "exporter failed" in manifest.evidence.reason
    assert model.run({"x": ROWS})["output"].shape == (40, 2)


def test_torchscript_without_a_sample_is_refused(scripted, tmp_path):
    with pytest.raises(InvalidInput) as caught:
        pack(scripted, name="m", out=tmp_path / "out")
    assert caught.value.code == "sample-missing"


def test_a_sample_the_program_cannot_take_is_refused(scripted, tmp_path):
    with pytest.raises(ModelFailed) as caught:
        pack(scripted, ROWS[:, :3], name="m", out=tmp_path / "out")
    assert caught.value.code == "sample-refused"


def test_live_programs_are_packed_and_a_plain_module_is_told_how(tmp_path):
    program = torch.export.export(NET, (torch.zeros(2, 4),), dynamic_shapes={"x": ROWS_VARY})
    manifest, _ = served(pack(program, name="m", out=tmp_path / "out"))
    assert (manifest.kind, manifest.served.runtime) == ("torch.export", "onnx")
    with pytest.raises(Unsupported, match="Net") as caught:
        pack(NET, ROWS, name="m", out=tmp_path / "other")
    assert "torch.export.export" in caught.value.hint


class Bomb:
    def __reduce__(self):
        import os

        return os.mkdir, ("it-ran",)


@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_weights_without_a_program_are_never_opened(suffix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": torch.ones(2), "bomb": Bomb()}, tmp_path / f"weights{suffix}")
    with pytest.raises(Refused) as caught:
        pack(tmp_path / f"weights{suffix}", ROWS, name="m", out=tmp_path / "out")
    assert caught.value.code == "pickle-refused"
    assert "torch.export" in caught.value.hint
    assert not (tmp_path / "it-ran").exists()


def test_a_pickle_inside_an_archive_does_not_run(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    hostile = tmp_path / "hostile.pt2"
    torch.save(Bomb(), tmp_path / "bomb")
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(hostile, "w") as target:
        for info in source.infolist():
            inner = "sample_inputs" in info.filename
            target.writestr(info, (tmp_path / "bomb").read_bytes() if inner else source.read(info))
    with pytest.raises(PenstockError):
        pack(hostile, name="m", out=tmp_path / "out")
    assert not (tmp_path / "it-ran").exists()


def test_a_constant_that_is_a_pickle_is_refused(exported, tmp_path):
    hostile = tmp_path / "hostile.pt2"
    with zipfile.ZipFile(exported) as source, zipfile.ZipFile(hostile, "w") as target:
        for info in source.infolist():
            data = source.read(info)
            if info.filename.endswith("constants_config.json"):
                data = b'{"config": {"c": {"path_name": "opaque_obj_0"}}}'
            target.writestr(info, data)
        target.writestr("net/data/constants/opaque_obj_0", pickle.dumps(Bomb()))
    with pytest.raises(Refused) as caught:
        pack(hostile, name="m", out=tmp_path / "out")
    assert caught.value.code == "pickle-refused"


def test_a_damaged_archive_is_refused(exported, tmp_path):
    (tmp_path / "cut.pt2").write_bytes(exported.read_bytes()[:900])
    with pytest.raises(InvalidInput) as caught:
        pack(tmp_path / "cut.pt2", name="m", out=tmp_path / "out")
    assert caught.value.code == "damaged-model"
