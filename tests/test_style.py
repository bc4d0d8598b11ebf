"""The house style, as far as a machine can see it. Every exception stands here, with its reason beside it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "penstock"
PYTHON = sorted(
    path
    for folder in ("src", "tests", "examples", "verification", "docs")
    for path in (ROOT / folder).rglob("*.py")
    if "__pycache__" not in path.parts
)
TREES = {path: ast.parse(path.read_text()) for path in PYTHON}

LONGEST_FILE = 400
LONGEST_FUNCTION = 70
JUNK_DRAWERS = re.compile(
    r"^(utils?|common|helpers?|managers?|misc|constants)$|_(utils?|helpers?|manager)$|^(util|helper)_"
)

# A name that breaks the rule of names, and why it may.
NAMES_ALLOWED: dict[str, str] = {}
# Longer than the ceiling, and why.
LONG_FILES: dict[str, str] = {}
LONG_FUNCTIONS: dict[str, str] = {}
# A test that sleeps instead of waiting for a condition; a pause inside a loop that looks for one is not meant.
SLEEPS: dict[str, str] = {}
# `print` in the source outside the command line.
PRINTS: dict[str, str] = {}
# Catching everything without a comment there or a `raise`.
CATCHES: dict[str, str] = {}


def relative(path):
    return path.relative_to(ROOT).as_posix()


def functions(tree):
    return [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def calls(tree, name):
    """Calls of `name(…)` or `….name(…)`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = node.func
            if (isinstance(called, ast.Attribute) and called.attr == name) or (
                isinstance(called, ast.Name) and called.id == name
            ):
                yield node


def exceptions(found, allowed):
    """What is found and not allowed, and what is allowed and not found any more."""
    return sorted(set(found) - set(allowed)), sorted(set(allowed) - set(found))


def test_files_were_found():
    assert len(PYTHON) > 150


def test_no_file_is_longer_than_the_ceiling():
    found = [relative(path) for path in PYTHON if len(path.read_text().splitlines()) > LONGEST_FILE]
    assert exceptions(found, LONG_FILES) == ([], [])


def test_no_function_is_longer_than_the_ceiling():
    found = [
        f"{relative(path)}:{function.name}"
        for path, tree in TREES.items()
        for function in functions(tree)
        if function.end_lineno - function.lineno + 1 > LONGEST_FUNCTION
    ]
    assert exceptions(found, LONG_FUNCTIONS) == ([], [])


def test_no_name_is_a_junk_drawer():
    found = [relative(path) for path in PYTHON if any(JUNK_DRAWERS.search(part) for part in _parts(path))]
    classes = [
        f"{relative(path)}:{node.name}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?)$", node.name)
    ]
    assert exceptions(found + classes, NAMES_ALLOWED) == ([], [])


def _parts(path):
    return [*path.relative_to(ROOT).parts[:-1], path.stem]


def test_nothing_is_left_for_later():
    # Put together, or this line would be found.
    marks = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "X" + "XX"]) + r")\b|raise " + "NotImplemented")
    found = [
        f"{relative(path)}:{number}"
        for path in [*PYTHON, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if marks.search(line)
    ]
    assert found == []


def test_no_test_sleeps_instead_of_waiting():
    """A pause is fine inside a loop that looks for what it waits for; alone it is a guess about the machine."""
    found = [
        f"{relative(path)}:{_enclosing(tree, call)}"
        for path, tree in TREES.items()
        if path.is_relative_to(ROOT / "tests")
        for call in calls(tree, "sleep")
        if _is_the_real_one(call) and not _inside_a_loop(tree, call) and not _is_zero(call)
    ]
    assert exceptions(found, SLEEPS) == ([], [])


def _is_the_real_one(call):
    """Not the `sleep` of a test's own clock, which takes no time."""
    return isinstance(call.func, ast.Name) or ast.unparse(call.func) in ("time.sleep", "asyncio.sleep")


def _inside_a_loop(tree, call):
    loops = (node for node in ast.walk(tree) if isinstance(node, (ast.While, ast.For, ast.AsyncFor)))
    return any(loop.lineno <= call.lineno <= loop.end_lineno for loop in loops)


def _is_zero(call):
    """`sleep(0)` only lets others run."""
    return bool(call.args) and isinstance(call.args[0], ast.Constant) and call.args[0].value == 0


def _enclosing(tree, call):
    around = [f.name for f in functions(tree) if f.lineno <= call.lineno <= f.end_lineno]
    return around[-1] if around else "module"


def test_nothing_prints_but_the_command_line():
    found = [
        relative(path)
        for path, tree in TREES.items()
        if path.is_relative_to(SOURCE) and not path.is_relative_to(SOURCE / "cli") and any(_prints(tree))
    ]
    assert exceptions(found, PRINTS) == ([], [])


def _prints(tree):
    return (call for call in calls(tree, "print") if isinstance(call.func, ast.Name))


def test_no_failure_is_caught_without_a_name():
    found = [
        f"{relative(path)}:{node.lineno}"
        for path, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler) and node.type is None
    ]
    assert found == []


def test_whoever_catches_everything_says_why():
    """`except Exception` needs a comment on its line or in its first lines, or it raises what it caught anew."""
    found = []
    for path, tree in TREES.items():
        lines = path.read_text().splitlines()
        for node in ast.walk(tree):
            if path.is_relative_to(SOURCE) and isinstance(node, ast.ExceptHandler) and _catches_everything(node):
                explained = any("#" in line for line in lines[node.lineno - 1 : node.body[0].end_lineno])
                if not explained and not any(isinstance(inner, ast.Raise) for inner in ast.walk(node)):
                    found.append(f"{relative(path)}:{_enclosing(tree, node)}")
    assert exceptions(found, CATCHES) == ([], [])


def _catches_everything(handler):
    return isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=relative)
def test_every_module_says_what_it_is(path):
    if not path.is_relative_to(SOURCE / "registry/migrations"):
        assert ast.get_docstring(TREES[path]), "one sentence at the top"


def test_the_project_speaks_of_itself_alone():
    """Nothing about who wrote it, where, or on what machine."""
    words = re.compile("|".join(["/wo" + r"rk/", r"\.\./sha" + "red", "/tm" + "p/bash", "sub" + "agent"]))
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "Makefile", ROOT / "pyproject.toml"]
    found = [
        f"{relative(path)}:{number}"
        for path in [*PYTHON, *pages]
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]
    assert found == []
