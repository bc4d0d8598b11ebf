"""Looks into real folders, without a node: what is published, and when."""

import json
import os
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from sklearn.linear_model import LinearRegression

import penstock
from penstock.bundle.bundle import open_bundle
from penstock.cli.folders.policy import ModelFolder, Policy
from penstock.cli.folders.watch import Watcher, Watching
from penstock.core.routes import Access, read_routes
from penstock.serving.held_back import read_held_back


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Three bundles as files."""
    folder, rows = tmp_path_factory.mktemp("archives"), np.random.default_rng(0).random((30, 2))
    return [
        penstock.pack(LinearRegression().fit(rows, rows @ [n, n]), rows, name="m", out=folder / f"{n}.penstock").path
        for n in (1, 2, 3)
    ]


class Folders:
    """A home, a folder `models/m`, and a watcher of it and of `others` first; `time` is what its clock says."""

    def __init__(self, root):
        self.base, self.state = root / "models" / "m", root / "state"
        self.base.mkdir(parents=True)
        self.state.mkdir()
        self.root, self.time, self.events = root, 0.0, []
        self.watcher = None

    def watch(self, policy=None, labels=None, access=None, others=()):
        model = ModelFolder(name="m", base_path=str(self.base), policy=policy or Policy(), labels=labels or {})
        first = tuple(ModelFolder(name=name, base_path=str(self.base.parent / name)) for name in others)
        watching = Watching(models=(*first, model), home=str(self.root / "home"), state=str(self.state), access=access)
        self.watcher = Watcher(watching, lambda name, **fields: self.events.append((name, fields)), lambda: self.time)
        return self

    def add(self, version, archive):
        (self.base / str(version)).mkdir()
        shutil.copy(archive, self.base / str(version) / "model.penstock")

    def look(self, times=2):
        for _ in range(times):
            self.watcher.look()
        return self

    @property
    def document(self):
        return read_routes((self.state / "served.json").read_bytes())

    def arms(self):
        return {arm.version: arm.weight for arm in self.document.endpoints["m"].arms}

    def said(self, name):
        return [fields for event, fields in self.events if event == name]


@pytest.fixture
def folders(tmp_path):
    return Folders(tmp_path)


def test_the_newest_is_served_and_followed(folders, archives):
    folders.add(1, archives[0])
    assert folders.watch().look().arms() == {"m/1": 10_000}
    folders.add(2, archives[1])
    assert folders.look().arms() == {"m/2": 10_000}
    assert folders.document.generation == 2
    folders.look(3)
    assert folders.document.generation == 2


def test_a_folder_is_taken_when_it_has_not_changed_between_two_looks(folders, archives):
    folders.add(1, archives[0])
    folders.watch().look(1)
    assert not (folders.state / "served.json").exists()
    os.utime(folders.base / "1" / "model.penstock", ns=(1, 1))
    folders.look(1)
    assert not (folders.state / "served.json").exists()
    folders.look(1)
    assert folders.arms() == {"m/1": 10_000}


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy(count=2), {"m/3": 10_000, "m/2": 0}),
        (Policy(kind="all"), {"m/3": 10_000, "m/2": 0, "m/1": 0}),
        (Policy(kind="specific", versions=(2, 1)), {"m/2": 10_000, "m/1": 0}),
    ],
)
def test_policies(folders, archives, policy, expected):
    for version, archive in enumerate(archives, 1):
        folders.add(version, archive)
    assert folders.watch(policy).look(6).arms() == expected


def test_labels_name_what_is_served(folders, archives):
    folders.add(1, archives[0])
    folders.add(2, archives[1])
    folders.watch(Policy(kind="all"), {"stable": 1, "canary": 2, "next": 3}).look(4)
    assert folders.document.endpoints["m"].labels == {"stable": "m/1", "canary": "m/2"}


def test_a_broken_version_is_told_and_the_one_before_stays(folders, archives):
    folders.add(1, archives[0])
    folders.watch().look()
    (folders.base / "2").mkdir()
    (folders.base / "2" / "model.onnx").write_bytes(b"no graph")
    assert folders.look(5).arms() == {"m/1": 10_000}
    held = read_held_back(folders.state)["m"]["2"]
    assert (held.state, held.kind) == ("END", "invalid")
    assert "damaged-model" in held.problem
    # Once: it is not tried again as long as it is the same.
    assert len(folders.said("version-held-back")) == 1
    (folders.base / "2" / "model.onnx").unlink()
    shutil.copy(archives[1], folders.base / "2")
    assert folders.look().arms() == {"m/2": 10_000}
    assert folders.look(1) and read_held_back(folders.state) == {}


def test_a_model_that_cannot_be_looked_into_keeps_no_other_from_being_served(folders, archives):
    """One folder is not there, and one has a name that no text can hold: our own reading of it fails."""
    (folders.base.parent / "odd" / "1").mkdir(parents=True)
    (folders.base.parent / "odd" / "1" / os.fsdecode(b"name-\xff")).touch()
    folders.add(1, archives[0])
    assert folders.watch(others=("gone", "odd")).look().arms() == {"m/1": 10_000}
    assert set(folders.document.endpoints) == {"m"}
    folders.add(2, archives[1])
    assert folders.look(4).arms() == {"m/2": 10_000}
    # Told once each, not at every look.
    assert [fields["endpoint"] for fields in folders.said("folder-unreadable")] == ["gone", "odd"]
    # And taken like any other as soon as it can be read.
    shutil.rmtree(folders.base.parent / "odd" / "1")
    (folders.base.parent / "odd" / "1").mkdir()
    shutil.copy(archives[2], folders.base.parent / "odd" / "1" / "model.penstock")
    folders.look(2)
    assert set(folders.document.endpoints) == {"m", "odd"}


def test_links_that_lead_nowhere_are_in_nobody_s_way(folders, archives):
    folders.add(1, archives[0])
    (folders.base / "1" / "notes.txt").symlink_to(folders.root / "nowhere")
    (folders.base / "2").symlink_to(folders.root / "nowhere")
    assert folders.watch().look().arms() == {"m/1": 10_000}
    assert not folders.said("folder-unreadable") and not folders.said("version-held-back")
    # A model behind one is told, and taken when it is there.
    (folders.base / "3").mkdir()
    (folders.base / "3" / "model.penstock").symlink_to(folders.root / "three.penstock")
    assert folders.look(4).arms() == {"m/1": 10_000}
    assert read_held_back(folders.state)["m"]["3"].problem
    shutil.copy(archives[2], folders.root / "three.penstock")
    (folders.base / "3" / "model.penstock").unlink()
    (folders.base / "3" / "model.penstock").symlink_to(folders.root / "three.penstock")
    assert folders.look(3).arms() == {"m/3": 10_000}


def test_what_is_broken_at_the_start_leaves_the_place_to_the_next(folders, archives):
    folders.add(1, archives[0])
    (folders.base / "2").mkdir()
    assert folders.watch().look(4).arms() == {"m/1": 10_000}
    assert "unknown-version-folder" in read_held_back(folders.state)["m"]["2"].problem


def test_a_saved_model_says_why_it_cannot_be_served(folders):
    (folders.base / "1").mkdir()
    (folders.base / "1" / "saved_model.pb").write_bytes(b"")
    folders.watch().look(3)
    assert read_held_back(folders.state)["m"]["1"].problem
    assert not (folders.state / "served.json").exists()


def test_a_graph_is_packed_on_the_spot(folders):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 2]) for name in "xy")
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "graph", [x], [y])
    (folders.base / "00000007").mkdir()
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        folders.base / "00000007" / "model.onnx",
    )
    folders.watch().look()
    assert folders.arms() == {"m/7": 10_000}
    arm = folders.document.endpoints["m"].arms[0]
    assert (
        open_bundle(folders.root / "home" / "bundles" / arm.bundle[7:], folders.root, arm.bundle).manifest.name == "m"
    )
    assert not list((folders.root / "home" / "bundles").glob(".*"))


def test_a_bundle_s_folder_is_kept_when_the_version_s_folder_goes(folders, archives, tmp_path):
    bundle = open_bundle(archives[0], tmp_path / "cache")
    shutil.copytree(bundle.directory, folders.base / "1")
    folders.watch().look()
    shutil.rmtree(folders.base / "1")
    arm = folders.document.endpoints["m"].arms[0]
    assert open_bundle(tmp_path / "home" / "bundles" / bundle.digest[7:], tmp_path, arm.bundle).digest == bundle.digest


def test_a_folder_that_is_away_changes_nothing_and_an_empty_one_ends_the_model(folders, archives):
    folders.add(1, archives[0])
    folders.watch().look()
    folders.base.rename(folders.root / "away")
    assert folders.look(3).arms() == {"m/1": 10_000}
    assert len(folders.said("folder-unreadable")) == 1
    folders.base.mkdir()
    assert folders.look().document.endpoints == {}


def test_the_old_version_stays_until_a_new_one_can_be_served(folders, archives):
    folders.add(1, archives[0])
    folders.watch().look()
    shutil.rmtree(folders.base / "1")
    (folders.base / "2").mkdir()
    assert folders.look(3).arms() == {"m/1": 10_000}
    shutil.copy(archives[1], folders.base / "2")
    assert folders.look().arms() == {"m/2": 10_000}


def test_other_content_under_the_same_number_is_followed(folders, archives):
    folders.add(1, archives[0])
    first = folders.watch().look().document.endpoints["m"].arms[0]
    shutil.copy(archives[1], folders.base / "1" / "model.penstock")
    second = folders.look().document.endpoints["m"].arms[0]
    assert first.version == second.version and first.bundle != second.bundle
    # Broken under the same number: what was prepared before goes on.
    (folders.base / "1" / "model.penstock").write_bytes(b"")
    assert folders.look(3).document.endpoints["m"].arms[0] == second
    assert len(folders.said("version-held-back")) == 1


def test_a_restart_prepares_nothing_again(folders, archives):
    folders.add(1, archives[0])
    folders.watch().look()
    before = folders.document
    folders.watch().look(1)
    assert folders.document == before
    assert len(folders.said("version-prepared")) == 1
    shutil.rmtree(folders.root / "home" / "bundles")
    folders.watch().look()
    assert len(folders.said("version-prepared")) == 2


def test_who_may_call_is_in_the_document(folders, archives):
    folders.add(1, archives[0])
    folders.watch(access=Access(keys={})).look()
    assert json.loads((folders.state / "served.json").read_bytes())["access"] == {"keys": {}}
    folders.watch().look()
    assert folders.document.access is None
    assert folders.document.generation == 2


def test_what_may_pass_by_itself_is_tried_again_after_a_while(folders, archives, monkeypatch):
    folders.add(1, archives[0])
    full = OSError(28, "No space left on device")

    def refuse(*_):
        raise full

    with monkeypatch.context() as patched:
        patched.setattr("penstock.cli.folders.watch.bundle_of", refuse)
        folders.watch().look(4)
    assert len(folders.said("version-held-back")) == 1
    folders.look(1)
    assert not (folders.state / "served.json").exists()
    folders.time = 5.0
    assert folders.look(1).arms() == {"m/1": 10_000}
