"""docs/reference/measures.md names every method there is, and no other."""

import re

from tests.docs.pages import SOURCE, page

VALUES = {"__init__", "arrays", "interval"}


def test_every_method_is_on_the_page_and_the_page_names_no_other():
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \|", page("docs/reference/measures.md"), re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"\w+", row)}
    assert named == {path.stem for path in (SOURCE / "measures").glob("*.py")} - VALUES
