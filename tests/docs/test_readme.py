"""What README and the quickstart show is what happens."""

import re
import tempfile
import tomllib
from pathlib import Path

import pytest
from tests.docs.blocks import blocks_of, steps_of
from tests.docs.pages import ROOT, SOURCE, page, run_blocks


@pytest.mark.parametrize(
    "name",
    ["README.md", "docs/guide/quickstart.md", "docs/guide/serve.md", "docs/guide/routing.md"],
)
def test_every_block_runs_and_prints_what_the_page_says(name, tmp_path):
    assert run_blocks(name, tmp_path), "a page without a promised output proves nothing"


def test_the_blocks_of_a_model_in_a_process_of_its_own_run():
    # A short path: the sockets of model processes lie in the home, and pytest's folders are too long for them.
    with tempfile.TemporaryDirectory() as folder:
        assert run_blocks("docs/guide/graphs.md", Path(folder))


def test_the_runner_finds_commands_nodes_and_outputs():
    text = "```python\nprint(1)\n```\n\n```text\n1\n```\n\n```console\n$ a b\nout\n$ serve &\n```\n"
    assert steps_of(text) == [
        ("python", "print(1)\n", "1\n", 2),
        ("command", "a b", "out\n", 10),
        ("node", "serve", None, 10),
    ]


def test_the_first_screen_is_one_sentence_two_commands_an_example_and_when_not_to_use_it():
    text = page("README.md")
    order = [text.index(part) for part in ("make demo", "make test", "penstock.pack(", "## When not to use it")]
    assert order == sorted(order)
    example = next(body for language, body, _ in blocks_of(text) if language == "python")
    assert len([line for line in example.splitlines() if line.strip()]) <= 10


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_and_extra_that_is_named_exists(name):
    makefile = page("Makefile")
    for target in re.findall(r"\bmake ([a-z]+)\b(?=`|  |\n)", page(name)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    extras = tomllib.loads(page("pyproject.toml"))["project"]["optional-dependencies"]
    for group in re.findall(r"penstock\[([a-z0-9,]+)\]", page(name)):
        assert set(group.split(",")) <= set(extras)


def test_every_link_leads_somewhere():
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    # Written by make bench and make verify.
    generated = {ROOT / "docs/benchmarks.md", ROOT / "docs/verification.md"}
    broken = [
        f"{source.relative_to(ROOT)}: {target}"
        for source in pages
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", source.read_text())
        if "://" not in target
        and not (source.parent / target).exists()
        and (source.parent / target).resolve() not in generated
    ]
    assert not broken, broken


def test_every_event_of_the_log_is_in_the_guide():
    pattern = r'(?:event|_log|log)\(\s*"([a-z-]+)"'
    events = {found for path in SOURCE.rglob("*.py") for found in re.findall(pattern, path.read_text())}
    assert {"serving", "worker-ended"} <= events, "the search itself is broken"
    told = page("docs/guide/serve.md") + page("docs/guide/up.md")
    assert {event for event in events if f"`{event}`" not in told} == set()


@pytest.mark.parametrize("index", ["docs/README.md", "docs/decisions/README.md"])
def test_every_page_is_in_its_index(index):
    folder = (ROOT / index).parent
    pages = folder.glob("*.md") if folder.name == "decisions" else [*folder.glob("[!d]*/*.md")]
    missing = [path.name for path in pages if path.name != "README.md" and f"{path.name})" not in page(index)]
    assert not missing


def test_every_test_that_is_named_exists():
    for name in ("SECURITY.md", "CONTRIBUTING.md", "README.md"):
        files = re.findall(r"`((?:tests|src|docs)/[\w/.]+\.\w+)`", page(name))
        assert not [file for file in files if not (ROOT / file).is_file()]
