"""The blocks of the client's guide run as they stand, but for the node's address."""

import doctest
from pathlib import Path

import penstock

GUIDE = Path(penstock.__file__).parents[2] / "docs" / "guide" / "client.md"


def test_the_guide_runs(node):
    text = GUIDE.read_text()
    assert text.count("```python\n>>> ") == text.count("```python") >= 7
    # A fence is no expected output: the empty line before it ends that.
    examples = doctest.DocTestParser().get_doctest(
        text.replace("http://127.0.0.1:8080", node), {}, "guide", str(GUIDE), 0
    )
    said = []
    results = doctest.DocTestRunner(verbose=False).run(examples, out=said.append)
    assert not results.failed, "".join(said)
    assert results.attempted >= 15
