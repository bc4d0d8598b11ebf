"""What older versions wrote is read by this one: a bundle of each format, a database of each schema.

The files beside this one are never written again: a change that makes a test here fail breaks what users have. A new
format or schema gets a file of its own, made by the version that introduces it. The bundle was made by
`tests.serving.bundles.summing`; the databases hold the same few steps, by the registry alone (0001) and by control.
"""

import sqlite3
import subprocess
from pathlib import Path

import pytest
from tests.api.conftest import make_up  # noqa: F401 - a fixture
from tests.serving.conftest import make_node  # noqa: F401 - a fixture
from tests.serving.nodes import START_S, document, endpoint, summing_body

from penstock.bundle.bundle import open_bundle
from penstock.bundle.manifest import FORMAT
from penstock.control.control import Control
from penstock.core.errors import Unsupported
from penstock.registry.migrate import known_schemas
from penstock.registry.registry import Registry
from penstock.security.identity import Identity
from penstock.storage.folder import Folder

HERE = Path(__file__).parent
BUNDLE = "sha256:1c39f1076daca8e9179f5df3e44b22df1ffcf297a7c93b04d1b4e223e5c87ecd"
# By schema: the audit log's head, and how many entries led there.
HEADS = {
    "0001": ("sha256:fe00540f3106d12e678c37235454b015663f95fdb8debed785137cd0816fa7d8", 5),
    "0002": ("sha256:061828401ff6de487cfc6534b7f03003f8eb962828049fc81be20d586cb9876c", 10),
    "0003": ("sha256:061828401ff6de487cfc6534b7f03003f8eb962828049fc81be20d586cb9876c", 10),
    "0004": ("sha256:061828401ff6de487cfc6534b7f03003f8eb962828049fc81be20d586cb9876c", 10),
}
# It opened nothing but the database it was made in, for a moment.
KEY = "pk_b72d7d8fa294_H3FOjXsqmIZi9K8VuuzMubpaejTre2cBXPbmQeAqiCA"
ANA = Identity(subject="ana", role="admin")


def test_there_is_a_file_of_every_format_and_schema():
    assert sorted(path.stem for path in HERE.glob("*.penstock")) == [f"format-{n}" for n in range(1, FORMAT + 1)]
    assert {path.stem.removeprefix("schema-") for path in HERE.glob("*.sql")} == set(HEADS) == known_schemas()


@pytest.mark.parametrize("file", sorted(HERE.glob("*.penstock")), ids=lambda path: path.stem)
def test_a_bundle_is_opened_verified_and_served(file, make_node, tmp_path):  # noqa: F811
    bundle = open_bundle(file, tmp_path / "opened")
    assert (bundle.digest, bundle.manifest.name) == (BUNDLE, "sum")
    node = make_node()
    node.publish(document(1, sum=endpoint(bundle)))
    # Ready: its digests are right, and its golden rows gave what they gave when it was packed.
    node.start()
    status, headers, answer = node.post("/v2/models/sum/infer", summing_body([1, 2, 3, 4], [0, 0, 0, 0.5]))
    assert (status, answer["outputs"][0]["data"]) == (200, [110.0, 100.5])
    assert headers["penstock-version"] == "model/1"


@pytest.fixture(params=sorted(HEADS))
def old(request, tmp_path):
    """A home with the database of a schema, its address, and which schema."""
    home = tmp_path / "h"
    home.mkdir(mode=0o700)
    with sqlite3.connect(home / "registry.db") as database:
        database.executescript((HERE / f"schema-{request.param}.sql").read_text())
    database.close()
    return home, f"sqlite:///{home / 'registry.db'}", request.param


def everything(home):
    """Every row of every table, by table and in order."""
    database = sqlite3.connect(home / "registry.db")
    tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = {name: sorted(map(repr, database.execute(f"SELECT * FROM {name}"))) for name in tables}
    database.close()
    return rows


def test_a_registry_is_upgraded_with_all_that_it_holds(old, tmp_path):
    home, address, schema = old
    before = everything(home)
    with Registry.open(address, Folder(home / "artifacts"), actor="bo") as registry:
        version = registry.resolve("sum@champion")
        assert (version.digest, version.number, version.created_by) == (BUNDLE, 1, "ana")
        assert (version.tags, version.metrics) == ({"team": "risk"}, {"auc": 0.91})
        assert [model.name for model in registry.models()] == ["other", "sum"]
        verified = registry.verify_audit(HEADS[schema][0])
        assert (verified.whole, verified.head, verified.events) == (True, *HEADS[schema])
        # What it names is the frozen bundle.
        assert Folder(home / "artifacts").put(HERE / "format-1.penstock") == version.blob
        assert registry.fetch(version, tmp_path / "cache").digest == BUNDLE
        # And life goes on.
        registry.set_alias("sum", "challenger", 1)
        assert registry.verify_audit().whole
    after = everything(home)
    unchanged = before.keys() - {"penstock_schema", "audit_events", "audit_head", "aliases"}
    assert {name: after[name] for name in unchanged} == {name: before[name] for name in unchanged}
    assert set(before["audit_events"]) <= set(after["audit_events"])
    assert set(before["aliases"]) <= set(after["aliases"])


def test_control_goes_on_where_the_old_one_was(old):
    home, address, schema = old
    with Control.open(address, Folder(home / "artifacts"), home) as control:
        assert control.verify_audit(HEADS[schema][0]).whole
        if schema == "0001":
            assert control.keys(identity=ANA) == []
            return
        assert control.identify(KEY) == Identity(
            subject="shop", role="viewer", endpoints=("churn",), key_id="b72d7d8fa294"
        )
        assert (control.generation().generation, control.generation().reason) == (1, "go")
        assert control.routes().endpoints["churn"].arms[0].bundle == BUNDLE
        assert control.operation(1).state == "done"
        assert [report.verdict for report in control.reports("sum/1")] == ["pass"]


@pytest.mark.parametrize("command", ["up", "list"])
def test_an_older_penstock_leaves_a_newer_database_alone(make_up, command):  # noqa: F811
    up = make_up("", "--no-node")
    up.home.mkdir(mode=0o700)
    newest = max(HEADS)
    with sqlite3.connect(up.home / "registry.db") as database:
        database.executescript((HERE / f"schema-{newest}.sql").read_text())
        database.execute("UPDATE penstock_schema SET version_num = '9999'")
    database.close()
    before = everything(up.home)
    given = up.command() if command == "up" else [*up.command()[:3], "list", "--home", str(up.home)]
    refused = subprocess.run(given, capture_output=True, text=True, timeout=START_S, check=False)
    assert refused.returncode == 1
    assert f"schema 9999, newer than {newest}" in refused.stderr
    assert refused.stderr.endswith("upgrade penstock on this machine [newer-database]\n")
    assert everything(up.home) == before
    with pytest.raises(Unsupported, match="newer-database"):
        Control.open(f"sqlite:///{up.home / 'registry.db'}", Folder(up.home / "artifacts"), up.home)
