"""The commands, as a person and as a machine would use them."""

import json
import stat
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from penstock.cli.registry import add_commands
from penstock.cli.settings import read_settings
from penstock.core.errors import Conflict, InvalidInput, NotFound, PenstockError

NAME = "A0._-z"


@pytest.fixture
def run(tmp_path, database_url):
    """Runs one command; failures of Penstock are raised, as the program's own main sees them."""
    app = typer.Typer()
    add_commands(app)
    environ = {"PENSTOCK_HOME": str(tmp_path / "home"), "PENSTOCK_DATABASE": database_url, "PENSTOCK_ACTOR": "ana"}

    def run_one(*arguments, code=0, **options):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], env=environ | options)
        if isinstance(result.exception, PenstockError):
            raise result.exception
        assert result.exit_code == code, result.output
        return result.stdout if code != 2 else result.stderr

    return run_one


def test_a_day_with_the_registry(run, make_bundle):
    first, second = (make_bundle(content).directory for content in (b"1", b"2"))
    assert run("register", first, "--alias", "champion", "--expect", "none", "--tag", "data=w=14 ✓").startswith(
        f"{NAME}/1 "
    )
    version = json.loads(run("register", second, "--metric", "auc=0.93", "--reason", "weekly", "--json"))
    assert (version["number"], version["metrics"], version["created_by"]) == (2, {"auc": 0.93}, "ana")
    assert run("alias", NAME, "champion", 2, "--expect", 1) == f"{NAME}@champion -> {NAME}/2\n"
    assert [line.split()[0] for line in run("list", NAME).splitlines()] == [f"{NAME}/2", f"{NAME}/1"]
    assert "champion=2" in run("list")
    assert json.loads(run("list", "--json"))[0]["aliases"] == {"champion": 2}
    assert json.loads(run("tag", f"{NAME}/1", "a=b", "--remove", "data", "--metric", "f1=1", "--json"))["tags"] == {
        "a": "b"
    }
    assert "retired" in run("retire", f"{NAME}/1", "--reason", "old")
    assert "retired" not in run("retire", f"{NAME}/1", "--undo")
    assert f"{NAME}/2" in run("show", f"{NAME}@champion")
    assert json.loads(run("show", NAME, "--json"))["number"] == 2
    assert run("alias", NAME, "champion", "--delete", "--expect", 2) == f"{NAME}@champion is gone\n"
    assert "(weekly)" in run("history", NAME)
    assert json.loads(run("history", NAME, "--json"))[-1]["action"] == "alias.deleted"
    assert json.loads(run("gc", "--delete", "--json")) == {"unnamed": 0, "deleted": True}
    head = json.loads(run("audit", "verify", "--json"))["head"]
    assert "unbroken" in run("audit", "verify", "--head", head)
    assert len(run("audit", "list", "--limit", 3).splitlines()) == 3
    assert "no event has the hash" in run("audit", "verify", "--head", "sha256:other", code=1)


def test_failures_reach_the_program_with_their_code(run, make_bundle, tmp_path):
    run("register", make_bundle().directory, "--alias", "champion")
    for error, code, arguments in (
        (NotFound, "unknown-bundle", ["register", tmp_path / "none"]),
        (NotFound, "unknown-model", ["list", "nobody"]),
        (NotFound, "unknown-alias", ["show", f"{NAME}@x"]),
        (InvalidInput, "invalid-version", ["show", f"{NAME}/x"]),
        (Conflict, "alias-moved", ["alias", NAME, "champion", "1", "--expect", "none"]),
        (InvalidInput, "invalid-metric", ["tag", NAME, "--metric", "m=nan"]),
    ):
        with pytest.raises(error) as caught:
            run(*arguments)
        assert caught.value.code == code


@pytest.mark.parametrize(
    "arguments",
    [
        ["alias", NAME, "champion"],
        ["alias", NAME, "champion", "1", "--delete"],
        ["alias", NAME, "champion", "0"],
        ["alias", NAME, "champion", "1", "--expect", "-1"],
        ["register", "x", "--tag", "novalue"],
        ["register", "x", "--tag", "=x"],
        ["register", "x", "--tag", "a=1", "--tag", "a=2"],
        ["register", "x", "--metric", "a=b"],
        ["tag", NAME],
    ],
)
def test_wrong_usage_is_2_and_touches_nothing(run, tmp_path, arguments):
    run(*arguments, code=2)
    assert not (tmp_path / "home").exists()


def test_the_home_is_its_owners_alone_and_holds_everything_by_default(run, make_bundle, tmp_path):
    run("register", make_bundle().directory, PENSTOCK_DATABASE="")
    home = tmp_path / "home"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert {"registry.db", "artifacts"} <= {path.name for path in home.iterdir()}


def test_options_go_before_the_environment(run, make_bundle, tmp_path):
    other = tmp_path / "other"
    options = ["--home", other, "--database", f"sqlite:///{tmp_path}/o.db", "--artifacts", tmp_path / "o"]
    run("register", make_bundle().directory, *options)
    assert (tmp_path / "o.db").is_file()
    assert (tmp_path / "o").is_dir()
    assert not (tmp_path / "home").exists()
    assert run("list") == ""


def test_settings_need_a_home():
    assert read_settings({"HOME": "/h"}).actor == "unknown"
    assert read_settings({"HOME": "/h", "PENSTOCK_HOME": ""}).artifacts_url == "/h/.penstock/artifacts"
    with pytest.raises(InvalidInput, match="no-home"):
        read_settings({})


@pytest.mark.parametrize(
    ("blocked", "line"),
    [
        ("sqlalchemy", "penstock[control]"),
        ("alembic", "penstock[control]"),
        ("psycopg", "penstock[postgres]"),
        ("obstore", "penstock[s3]"),
    ],
)
def test_a_missing_library_names_the_line_that_installs_it(tmp_path, blocked, line):
    script = f"""
import sys
sys.modules[{blocked!r}] = None
import penstock.cli.registry as command
from penstock.cli.settings import Settings
from penstock.core.errors import Unsupported
from pathlib import Path
database = "postgresql://h/d" if {blocked!r} == "psycopg" else "sqlite:///{tmp_path}/x.db"
artifacts = "s3://b" if {blocked!r} == "obstore" else "{tmp_path}/a"
try:
    command.open_registry(Settings(home=Path("{tmp_path}"), database_url=database, artifacts_url=artifacts, actor="a"))
except Unsupported as error:
    print(error.code, error)
"""
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert f"pip install '{line}'" in result.stdout


def test_defining_the_commands_loads_no_database_library():
    script = "import sys, penstock.cli.registry; print({'sqlalchemy', 'alembic', 'obstore'} & set(sys.modules))"
    assert (
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout == "set()\n"
    )
