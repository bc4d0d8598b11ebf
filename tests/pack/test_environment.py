"""The lock of what is served, and the wheels that go with it."""

import zipfile

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import RadiusNeighborsClassifier

from penstock.bundle.bundle import verify_directory
from penstock.core.errors import NotFound, Unavailable
from penstock.pack import pack
from penstock.pack.environment import download_wheels, write_environment
from penstock.runtime.environment import lock_wheels, pins_of


def _wheel(folder, name, version):
    info = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", "")
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


@pytest.fixture
def index(tmp_path, monkeypatch):
    folder = tmp_path / "index"
    folder.mkdir()
    _wheel(folder, "tiny", "1.0")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_wheels_are_downloaded_and_hashed(index, tmp_path):
    (tmp_path / "requirements.txt").write_text("tiny==1.0\n")
    download_wheels(tmp_path / "requirements.txt", tmp_path / "wheels")
    assert [path.name for path in (tmp_path / "wheels").iterdir()] == ["tiny-1.0-py3-none-any.whl"]
    text, environment = lock_wheels("tiny==1.0\n", tmp_path / "wheels", "wheels")
    assert "--hash=sha256:" in text
    assert environment.wheels == "wheels"


def test_wheels_that_cannot_be_had(index, tmp_path):
    (tmp_path / "requirements.txt").write_text("tiny==2.0\n")
    with pytest.raises(Unavailable) as failure:
        download_wheels(tmp_path / "requirements.txt", tmp_path / "wheels")
    assert failure.value.code == "wheels-unavailable"
    assert "tiny==2.0" in failure.value.message


def test_a_bundle_whose_wheels_cannot_be_had_is_not_written(index, cancer, tmp_path):
    x, y = cancer
    with pytest.raises(Unavailable):
        pack(
            LogisticRegression(max_iter=1, tol=1e9).fit(x[:, :2], y),
            x[:, :2],
            name="m",
            out=tmp_path / "o",
            vendor=True,
        )
    assert not (tmp_path / "o").exists()


def test_what_is_served_is_locked_and_not_what_trained_it(logistic, cancer, tmp_path):
    x, y = cancer
    served_as_onnx = pack(logistic, x, name="m", out=tmp_path / "onnx")
    served_as_is = pack(RadiusNeighborsClassifier(1e4).fit(x, y), x, name="m", out=tmp_path / "sklearn")
    pins = {kind: pins_of((tmp_path / kind / "requirements.txt").read_text()) for kind in ("onnx", "sklearn")}
    assert "onnxruntime" in pins["onnx"]
    assert "scikit-learn" not in pins["onnx"]
    assert {"scikit-learn", "numpy", "skops"} <= set(pins["sklearn"])
    assert served_as_onnx.manifest.lineage.packages.keys() == served_as_is.manifest.lineage.packages.keys()
    bundle = verify_directory(tmp_path / "sklearn")
    assert bundle.manifest.environment.identity != served_as_onnx.manifest.environment.identity


def test_a_package_that_is_not_installed(tmp_path):
    with pytest.raises(NotFound):
        write_environment(tmp_path, ["no-such-package-here"], vendor=False)
