"""plan, apply, status, keys, approve, backup and restore as they are run, on an empty home."""

import json

import pytest

YAML = """version: 1
models: {sum: {bundle: sum.penstock, aliases: {champion: bundle}}}
endpoints: {sum: {model: sum@champion}}
gates: {budget: false, robustness: false}
"""


@pytest.fixture
def folder(tmp_path, bundles):
    for name in ("sum", "half"):
        (tmp_path / f"{name}.penstock").symlink_to(bundles / f"{name}.penstock")
    (tmp_path / "penstock.yaml").write_text(YAML)
    return tmp_path


def test_from_an_empty_home_to_a_restored_one(run, folder, home):
    planned = run("plan").stdout
    assert "+ sum" in planned and "arm champion: none -> sum/1 100%" in planned and "its gates will run" in planned
    assert "nothing is applied yet" in run("status").stdout

    applied = run("apply", "--reason", "first")
    assert "sum/1 for sum: pass" in applied.stderr and "generation 1" in applied.stderr
    assert "nothing to change" in run("plan").stdout
    assert json.loads(run("apply", "--json").stdout)["operation"]["state"] == "done"

    status = run("status").stdout
    assert "generation 1" in status and "sum/1 100%" in status and "(first)" in status and "no node" in status
    late = run("apply", "--expect", "0", code=1)
    assert "[generation-moved]" in late.stderr
    waited = run("apply", "--wait", "--wait-s", "0", code=1)
    assert "[not-converged]" in waited.stderr

    run("backup", folder / "b.zip")
    assert "[not-empty]" in run("restore", folder / "b.zip", code=1).stderr
    run("restore", folder / "b.zip", "--home", home / "other")
    assert "sum/1 100%" in run("status", "--home", home / "other").stdout
    assert "unbroken" in run("audit", "verify", "--home", home / "other").stdout


def test_two_people_move_a_protected_alias(run, folder, environ):
    (folder / "penstock.yaml").write_text(YAML + "protected_aliases: [champion]\n")
    environ["PENSTOCK_ACTOR"] = "ana"
    waiting = run("apply", code=3)
    assert "penstock approve 1 lets it happen" in waiting.stderr
    assert "[approval-forbidden]" in run("approve", 1, code=1).stderr
    assert "approval 1" in run("status").stdout
    environ["PENSTOCK_ACTOR"] = "bo"
    assert "approved by bo" in run("approve", 1, "--reason", "looked").stdout
    assert "sum/1 100%" in run("status").stdout
    assert "[already-decided]" in run("refuse", 1, code=1).stderr


def test_keys_are_printed_once(run):
    made = run("keys", "create", "shop", "--role", "operator", "--endpoint", "churn", "--days", 90)
    text = made.stdout.strip()
    assert text.startswith("pk_") and "shown this once" in made.stderr
    key_id = text.split("_")[1]
    listed = run("keys", "list").stdout
    assert key_id in listed and "churn" in listed and text not in listed
    successor = run("keys", "rotate", key_id, "--grace-s", 0).stdout.strip()
    assert "expired" in run("keys", "list").stdout
    assert "revoked" in run("keys", "revoke", successor.split("_")[1]).stdout
    assert "[invalid-key-wish]" in run("keys", "create", "shop", "--role", "king", code=1).stderr


def test_faults_are_one_line(run, folder):
    (folder / "penstock.yaml").write_text("version: 1\nendpionts: {}\n")
    assert run("plan", code=1).stderr == (
        "penstock: penstock.yaml: endpionts: unknown field; did you mean endpoints? [invalid-spec]\n"
    )
    assert "[unknown-file]" in run("plan", "none.yaml", code=1).stderr
    assert "[unknown-approval]" in run("approve", 7, code=1).stderr
    assert "[control-unavailable]" in run("status", "--server", "http://127.0.0.1:1", "--key", "k", code=1).stderr
    assert "[no-key]" in run("status", "--server", "http://127.0.0.1:1", code=1).stderr
    assert "[invalid-address]" in run("status", "--server", "localhost:8700", code=1).stderr
