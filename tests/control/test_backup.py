"""Backups: restored, everything is there again; damaged, newer or into a full place, nothing is."""

import json
import shutil
import zipfile

import pytest
from sqlalchemy import text
from tests.control.conftest import ANA, BO, OLA, ONE, spec

from penstock.control.backup import MANIFEST
from penstock.control.control import Control
from penstock.control.restore import restore
from penstock.core.errors import Forbidden, InvalidInput, NotFound, PenstockError, Refused, Unavailable
from penstock.storage.folder import Folder


@pytest.fixture
def filled(control, register, gates):
    """Control with something in every table."""
    control.ensure_admin_key()
    register(alias="champion")
    control.registry(ANA).set_entries(control_ref("churn", 1), tags={"team": "ü"}, metrics={"auc": 0.9})
    control.apply(spec(ONE + "\naccess: {required: true}\nprotected_aliases: [champion]"), identity=ANA)
    register()
    control.set_alias("churn", "champion", 2, identity=OLA)
    control.remember(ANA, "k", "sha256:a", {"n": 1})
    return control


def control_ref(name, number):
    from penstock.core.names import VersionRef

    return VersionRef(name, number)


@pytest.fixture
def archive(filled, tmp_path):
    path = tmp_path / "backup.zip"
    filled.backup(path, identity=ANA)
    return path


@pytest.fixture
def empty(tmp_path):
    """The address and blobs of a place where nothing is."""
    return f"sqlite:///{tmp_path / 'new.db'}", Folder(tmp_path / "new-artifacts")


def test_everything_is_there_again(filled, archive, empty, home, tmp_path, clock):
    assert archive.stat().st_mode & 0o777 == 0o600
    made = restore(archive, *empty)
    assert len(made.artifacts) == 2
    with Control.open(*empty, tmp_path / "new", clock=clock) as again:
        old, new = filled.status(), again.status()
        assert (new.generation, new.approvals, new.operations) == (old.generation, old.approvals, old.operations)
        assert (new.audit_events, new.keys, new.models) == (old.audit_events, old.keys, old.models)
        assert again.registry(ANA).verify_audit(made.audit_head).whole
        assert again.registry(ANA).resolve("churn/1").tags == {"team": "ü"}
        assert again.identify((home / "admin.key").read_text().strip()).role == "admin"
        arm = again.routes().endpoints["churn"].arms[0]
        assert "new-artifacts" in arm.uri, "bundles are fetched from where they are now"
        version = again.registry(ANA).resolve("churn/1")
        assert again.registry(ANA).fetch(version, tmp_path / "cache").digest == arm.bundle
        again.approve(1, identity=BO)
        assert again.plan(again.spec()).changes[0].after.arms[0].version == "churn/2", "and life goes on"


def test_a_backup_goes_from_sqlite_to_postgresql(archive, postgres, tmp_path, clock):
    from sqlalchemy import create_engine

    name = f"restored {archive.parent.name[-20:]}"
    engine = create_engine(
        postgres.format("postgres").replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    blobs = Folder(tmp_path / "elsewhere")
    restore(archive, postgres.format(name), blobs)
    with Control.open(postgres.format(name), blobs, tmp_path / "new", clock=clock) as again:
        assert again.registry(ANA).verify_audit().whole
        assert again.routes().generation == 1


def test_a_place_that_holds_something_is_left_alone(archive, empty, filled, database_url, home):
    before = filled.status()
    with pytest.raises(Refused, match="not-empty"):
        restore(archive, database_url, Folder(home / "artifacts"))
    assert filled.status() == before


def _rewritten(archive, change):
    target = archive.with_name("changed.zip")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            data = change(name, old.read(name))
            if data is not None:
                new.writestr(name, data)
    return target


def _manifest(**fields):
    def change(name, data):
        return json.dumps({**json.loads(data), **fields}).encode() if name == MANIFEST else data

    return change


DAMAGE = {
    "a row changed": (lambda name, data: data.replace(b"ana", b"eve") if "audit" in name else data, "damaged-backup"),
    "an artifact changed": (lambda name, data: data[::-1] if "artifacts" in name else data, "damaged-backup"),
    "an artifact missing": (lambda name, data: None if "artifacts" in name else data, "damaged-backup"),
    "a table missing": (lambda name, data: None if "models" in name else data, "damaged-backup"),
    "no manifest": (lambda name, data: None if name == MANIFEST else data, "damaged-backup"),
    "another head": (_manifest(audit_head="sha256:0"), "damaged-backup"),
    "a newer schema": (_manifest(schema="9999"), "newer-database"),
    "a newer format": (_manifest(format=99), "newer-backup"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_what_is_damaged_or_newer_restores_nothing(archive, empty, what, tmp_path):
    change, code = DAMAGE[what]
    with pytest.raises(PenstockError) as caught:
        restore(_rewritten(archive, change), *empty)
    assert caught.value.code == code
    restore(archive, *empty)
    with Control.open(*empty, tmp_path / "new") as again:
        assert again.registry(ANA).verify_audit().whole


def test_files_that_are_no_backup(empty, tmp_path, archive):
    with pytest.raises(NotFound, match="unknown-file"):
        restore(tmp_path / "none.zip", *empty)
    (tmp_path / "text.zip").write_text("no archive")
    with pytest.raises(InvalidInput, match="damaged-backup"):
        restore(tmp_path / "text.zip", *empty)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(archive.read_bytes()[:-300])
    with pytest.raises(InvalidInput, match="damaged-backup"):
        restore(cut, *empty)


def test_a_backup_that_cannot_be_whole_is_not_written(filled, tmp_path, home):
    with pytest.raises(Forbidden):
        filled.backup(tmp_path / "b.zip", identity=BO)
    with pytest.raises(Unavailable):
        filled.backup(tmp_path / "no" / "folder" / "b.zip", identity=ANA)
    shutil.rmtree(home / "artifacts")
    with pytest.raises(NotFound, match="missing-artifact"):
        filled.backup(tmp_path / "b.zip", identity=ANA)
    assert not (tmp_path / "b.zip").exists() and not list(tmp_path.glob(".backup-*"))


def test_a_write_during_the_backup_is_in_it_whole_or_not_at_all(filled, tmp_path, empty, monkeypatch, open_control):
    """Another process registers between two tables: the tables are of one moment all the same."""
    other = open_control()
    from penstock.control import backup

    real, wrote = backup._write_table, []

    def interrupted(archive, connection, table, scratch):
        if table.name == "generations" and not wrote:
            wrote.append(other.create_key("late", "viewer", identity=ANA))
        return real(archive, connection, table, scratch)

    monkeypatch.setattr(backup, "_write_table", interrupted)
    filled.backup(tmp_path / "b.zip", identity=ANA)
    restore(tmp_path / "b.zip", *empty)
    with Control.open(*empty, tmp_path / "new") as again:
        assert wrote and again.registry(ANA).verify_audit().whole
        assert "late" not in [key.subject for key in again.keys(identity=ANA)]
        assert again.generation().generation == 1
    with filled._store.database.read() as connection:
        assert connection.execute(text("SELECT count(*) FROM api_keys")).scalar_one() == 2
