"""What the guide shows is what happens."""

from tests.docs.pages import run_blocks


def test_every_block_of_the_guide_runs_and_prints_what_it_says(tmp_path):
    assert run_blocks("docs/guide/experiments.md", tmp_path)
