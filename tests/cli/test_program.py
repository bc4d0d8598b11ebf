"""`penstock` in an empty home: every command answers, or says in one line what is wrong and what to do."""

import json

import pytest

from penstock.core.version import __version__


def test_without_a_command_it_shows_what_there_is(run):
    shown = run(code=2).stdout
    commands = ["pack", "inspect", "verify", "diff", "register", "list", "show", "alias", "history", "serve", "node"]
    # In the order in which a model goes its way.
    places = [shown.index(f"│ {command} ") for command in commands]
    assert places == sorted(places)


def test_it_says_which_version_it_is(run):
    assert run("--version").stdout == f"penstock {__version__}\n"


def test_an_empty_registry_is_no_failure(run):
    listed = run("list")
    assert listed.stdout == ""
    assert "penstock register BUNDLE" in listed.stderr
    for arguments, nothing in (
        (["list"], []),
        (["audit", "list"], []),
        (["gc"], {"unnamed": 0, "deleted": False}),
    ):
        done = run(*arguments, "--json")
        assert json.loads(done.stdout) == nothing
        assert done.stderr == ""
    assert run("audit", "verify").stdout.startswith("0 events, unbroken\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["inspect", "none.penstock"], "unknown-bundle"),
        (["verify", "none.penstock"], "unknown-bundle"),
        (["diff", "none", "nothing"], "unknown-bundle"),
        (["register", "none.penstock"], "unknown-bundle"),
        (["serve", "none.penstock"], "unknown-bundle"),
        (["serve", "churn"], "unknown-model"),
        (["serve", "churn@champion"], "unknown-model"),
        (["serve", "none.penstock", "--host", "0.0.0.0"], "insecure-address"),
        (["pack", "none.joblib", "--name", "churn"], "unknown-file"),
        (["list", "churn"], "unknown-model"),
        (["show", "churn"], "unknown-model"),
        (["history", "churn"], "unknown-model"),
        (["alias", "churn", "champion", "1"], "unknown-model"),
        (["tag", "churn", "a=b"], "unknown-model"),
        (["retire", "churn/1"], "unknown-model"),
        (["list", "--home", "/dev/null"], "unusable-home"),
        (["serve", "churn", "--home", "/dev/null/below"], "unusable-home"),
        (["node", "--routes", "none.json", "--home", "/dev/null"], "unusable-home"),
        (["list", "--database", "nonsense"], "invalid-database-url"),
    ],
)
def test_what_cannot_be_done_is_one_line_with_its_code(run, arguments, code):
    done = run(*arguments, code=1)
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("penstock: ")
    assert line.endswith(f"[{code}]")


@pytest.mark.parametrize(
    "arguments",
    [
        ["bogus"],
        ["serve"],
        ["pack", "model.joblib"],
        ["node"],
        ["serve", "x", "--port", "65536"],
        ["serve", "x", "--port", "-1"],
        ["serve", "x", "--processes", "-1"],
        ["serve", "x", "--workers", "0"],
        ["node", "--routes", "x", "--threads", "0"],
        ["serve", "x", "--isolation", "maybe"],
        ["audit", "list", "--limit", "0"],
        ["tag", "churn", "a=b", "--remove", "a"],
    ],
)
def test_wrong_usage_is_2_and_touches_nothing(run, home, arguments):
    done = run(*arguments, code=2)
    assert done.stdout == ""
    assert "--help" in done.stderr
    assert list(home.iterdir()) == []


def test_a_first_day(run, bundles, home):
    one = bundles / "sum.penstock"
    assert "name" in run("inspect", one).stdout
    assert "are what was packed" in run("verify", one).stdout
    assert "the same bundle" in run("diff", one, one).stdout
    assert 'name: "sum" -> "half"\n' in run("diff", one, bundles / "half.penstock", code=1).stdout
    assert run("register", one, "--alias", "champion").stdout.startswith("sum/1 ")
    assert run("list").stdout.split() == ["sum", "1", "version", "champion=1"]
    assert run("show", "sum@champion").stdout.startswith("sum/1\n")
    assert run("alias", "sum", "spare", "1").stdout == "sum@spare -> sum/1\n"
    assert "somebody moved it" in run("alias", "sum", "spare", "1", "--expect", "none", code=1).stderr
    assert len(run("history", "sum").stdout.splitlines()) == 3
    assert run("audit", "verify").stdout.startswith("3 events, unbroken\n")
    assert [path.name for path in home.iterdir()] == ["state"]
