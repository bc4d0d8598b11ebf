"""docs/reference/errors.md lists exactly the codes that the source can raise, each with its one kind."""

import ast
import re
from collections import defaultdict

from tests.docs.pages import SOURCE, page

from penstock.core import errors
from penstock.protocols.problems import STATUS

PAGE = "docs/reference/errors.md"
KINDS = {
    cls.__name__: cls.kind
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, errors.PenstockError)
}
# Codes that reach people without being the literal first argument of an error class: where they come from.
INDIRECT = {
    "duplicate-key": ("protocols/duplicates.py", "invalid"),  # handed to core/distinct.py
    "unexpected-answer": ("sdk/problems.py", "-"),  # its kind follows from the status
    "worker-failed": ("serving/workers.py", "unavailable"),  # told by the supervisor in a file
}
# Calls whose code is not a literal: each passes on a code that is found elsewhere.
PASSED_ON = {
    "cli/bundles.py", "core/distinct.py", "registry/versions.py", "runtime/frameworks/graph.py",
    "sdk/problems.py", "serving/workers.py",
}  # fmt: skip


def raised():
    """{code: {kinds}} of literal codes, and the files that pass one on."""
    codes, passed_on = defaultdict(set), set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args:
                literals = [n.value for n in ast.walk(node.args[0]) if isinstance(n, ast.Constant)]
                for code in literals:
                    codes[code].add(KINDS[node.func.id])
                if not literals:
                    passed_on.add(path.relative_to(SOURCE).as_posix())
    return codes, passed_on


def documented():
    return dict(re.findall(r"^\| `([a-z-]+)` \| ([a-z-]+) \|", page(PAGE), re.MULTILINE))


def test_every_code_is_on_the_page_and_the_page_names_no_other():
    codes, _ = raised()
    missing = sorted({*codes, *INDIRECT} - set(documented()))
    gone = sorted(set(documented()) - {*codes, *INDIRECT})
    assert not missing, f"add a line for each to {PAGE}: {missing}"
    assert not gone, f"nobody raises these, take them from {PAGE}: {gone}"


def test_one_code_has_one_kind_and_it_is_the_page_s():
    codes, _ = raised()
    said = documented()
    two = {code: sorted(kinds) for code, kinds in codes.items() if len(kinds) > 1}
    assert two == {}, "one code, one meaning"
    wrong = {code: kinds for code, kinds in codes.items() if kinds != {said[code]}}
    assert not wrong
    assert all(said[code] == kind for code, (_, kind) in INDIRECT.items())


def test_indirect_codes_are_where_they_are_said_to_be():
    for code, (file, _) in INDIRECT.items():
        assert f'"{code}"' in (SOURCE / file).read_text(), code
    assert raised()[1] == PASSED_ON, "a new place passes a code on: make it a literal, or add it here and on the page"


def test_every_code_stands_once_on_the_page():
    found = re.findall(r"^\| `([a-z-]+)` \|", page(PAGE), re.MULTILINE)
    assert len(found) == len(set(found))


def test_the_table_of_kinds_is_the_code_s():
    rows = re.findall(r"^\| ([a-z-]+) \| `(\w+)` \| (\d+) \|", page(PAGE), re.MULTILINE)
    assert {(kind, cls, int(status)) for kind, cls, status in rows} == {
        (kind, cls, STATUS[kind]) for cls, kind in KINDS.items()
    }


def test_every_code_is_written_in_kebab_case():
    assert all(re.fullmatch(r"[a-z][a-z-]+[a-z]", code) for code in raised()[0])
