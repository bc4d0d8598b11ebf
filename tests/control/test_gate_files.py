"""Files of gates: stored by digest, never mixed up, the same for every control."""

from pathlib import Path

import pytest
from tests.control.conftest import ANA, OLA, VIC, spec

from penstock.control import gate_files
from penstock.control.gate_files import reference_to, split_reference
from penstock.core.digest import digest_of, digest_of_file
from penstock.core.errors import Forbidden, InvalidInput, NotFound, PenstockError
from penstock.storage.folder import Folder

QUALITY = "gates: {quality: {data: '%s', target: y, metrics: {r2: {min: 0.5}}}}\nendpoints: {churn: {model: churn/1}}"


@pytest.fixture
def bring(control, tmp_path):
    """Brings bytes as a file of this name, and returns how a spec names it."""

    def bring_one(name, data):
        path = tmp_path / name
        path.write_bytes(data)
        control.keep_gate_file(path, digest_of_file(path), identity=OLA)
        return reference_to(path)

    return bring_one


def test_gates_read_the_very_bytes_wherever_they_run(control, open_control, register, gates, bring, tmp_path):
    register()
    first = bring("rows.csv", b"y\n1\n")
    second = bring("rows.csv", b"y\n2\n")
    read = []
    gates.look = lambda case: read.append((case.gates.quality.data, Path(case.gates.quality.data).read_bytes()))
    # Given the two files of one name, when another control process goes on with what this one began
    begun = control.begin_apply(spec(QUALITY % first), identity=OLA)
    assert open_control().continue_operation(begun.id).state == "done"
    # Then its gates read the first, under its name
    assert read[0][0].endswith("/rows.csv") and read[0][1] == b"y\n1\n"
    assert first != second and {one.partition("/")[2] for one in (first, second)} == {"rows.csv"}
    # And nothing of it stays behind
    assert not (tmp_path / read[0][0]).exists()


def test_bringing_again_changes_nothing_and_is_recorded_once(control, bring):
    reference = bring("rows.csv", b"y\n1\n")
    events = control.status().audit_events
    assert bring("other.csv", b"y\n1\n").partition("/")[0] == reference.partition("/")[0]
    assert control.status().audit_events == events
    stored = [event for event in control.registry(ANA).events() if event.action == "gate-file.stored"]
    assert [(event.actor, event.subject, event.after) for event in stored] == [
        ("ola", reference.partition("/")[0], {"bytes": 4})
    ]
    assert control.registry(ANA).verify_audit().whole


def test_a_plan_needs_no_file_and_an_apply_does(control, register):
    register()
    missing = spec(QUALITY % f"{digest_of(b'nobody')}/rows.csv")
    assert control.plan(missing).checks
    assert not control.has_gate_file(digest_of(b"nobody"))
    with pytest.raises(NotFound, match="unknown-gate-file"):
        control.begin_apply(missing, identity=OLA)


@pytest.mark.parametrize(
    "name", ["sha256:", "sha256:0/rows.csv", f"{digest_of(b'')}/../x", f"{digest_of(b'')}/a/b", digest_of(b"")]
)
def test_what_only_begins_like_a_reference_is_refused(control, register, name):
    register()
    with pytest.raises(InvalidInput, match="invalid-digest"):
        control.plan(spec(QUALITY % name))


@pytest.mark.parametrize("name", ["rows.csv", ".hidden", "a b.csv", "ä.npz", "-x.parquet", "x" * 250 + ".csv"])
def test_every_file_name_becomes_one_that_can_be_read_back(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"1")
    digest, said = split_reference(reference_to(path))
    assert digest == digest_of(b"1") and said.endswith(path.suffix)


def test_bytes_that_are_others_are_refused(control, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"1")
    with pytest.raises(InvalidInput, match="wrong-digest"):
        control.keep_gate_file(path, digest_of(b"2"), identity=OLA)
    with pytest.raises(Forbidden, match="role-forbidden"):
        control.keep_gate_file(path, digest_of(b"1"), identity=VIC)


def test_the_collector_and_backups_know_them(control, bring, home, tmp_path, database_url):
    reference = bring("rows.csv", b"y\n1\n")
    digest = reference.partition("/")[0]
    control.registry(ANA).collect_garbage(delete=True)
    assert digest in control.backup(tmp_path / "b.zip", identity=ANA).artifacts
    # And what was lost all the same is said, not read as something else
    Folder(home / "artifacts").collect(frozenset(), delete=True)
    with pytest.raises(PenstockError) as caught, gate_files.fetched(control._store, spec(QUALITY % reference).gates):
        pass
    assert caught.value.code == "missing-artifact"
