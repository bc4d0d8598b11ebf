"""docs/reference/cli.md is what the commands are."""

import importlib.util

from tests.docs.pages import ROOT, page


def test_the_page_is_up_to_date():
    spec = importlib.util.spec_from_file_location("cli_page", ROOT / "docs/reference/cli.py")
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    assert page("docs/reference/cli.md") == writer.page(), "run .venv/bin/python docs/reference/cli.py"


def test_every_command_has_a_chapter():
    commands = ["pack", "inspect", "verify", "diff", "register", "list", "show", "alias", "history", "tag", "retire"]
    commands += [
        "gc",
        "audit verify",
        "audit list",
        "serve",
        "node",
        "up",
        "plan",
        "apply",
        "status",
        "check",
        "log query",
    ]
    assert all(f"\n## penstock {command}\n" in page("docs/reference/cli.md") for command in commands)
