"""Which form a body has, and which one the answer should have: Content-Type and Accept (RFC 9110, 8.3 and 12.5.1)."""

from __future__ import annotations

from penstock.core.errors import UnsupportedMedia

JSON_TYPE, CSV_TYPE, LINES_TYPE = "application/json", "text/csv", "application/jsonlines"
_NAMES = {
    JSON_TYPE: JSON_TYPE, CSV_TYPE: CSV_TYPE, LINES_TYPE: LINES_TYPE, "application/jsonl": LINES_TYPE,
    "application/x-jsonlines": LINES_TYPE, "application/x-ndjson": LINES_TYPE,
}  # fmt: skip
_HEADERS = {"present", "absent"}
_HINT = f"{JSON_TYPE}, {CSV_TYPE} and {LINES_TYPE} are taken, in UTF-8"


def content_of(value: bytes | None) -> tuple[str, str]:
    """The body's type, and what its parameter `header` says of CSV; without the header field it is JSON.

    Raises UnsupportedMedia for another type, for a charset that is not UTF-8 and for a parameter that is not known: one
    that is not obeyed would change what the body means.

    Example:
        >>> content_of(b"text/csv; charset=UTF-8; header=absent")
        ('text/csv', 'absent')
    """
    if value is None:
        return JSON_TYPE, ""
    first, *parameters = value.decode("latin-1").split(";")
    kind = _NAMES.get(first.strip().lower())
    if kind is None:
        raise UnsupportedMedia("unsupported-content-type", f"a body of {first.strip()[:60]!r} is not taken", hint=_HINT)
    header = ""
    for parameter in parameters:
        name, _, said = (part.strip().strip('"').lower() for part in parameter.partition("="))
        if name == "header" and kind == CSV_TYPE and said in _HEADERS:
            header = said
        elif name == "charset" and said not in ("utf-8", "utf8"):
            raise UnsupportedMedia("unsupported-charset", f"the charset {said[:60]!r} is not taken", hint=_HINT)
        elif name and name != "charset":
            raise UnsupportedMedia(
                "unsupported-content-type", f"the parameter {parameter.strip()[:60]!r} is not known", hint=_HINT
            )
    return kind, header


def wanted(value: bytes | None) -> str:
    """The type that the answer should have: the best of those that are known, else JSON.

    Example:
        >>> wanted(b"text/csv"), wanted(b"image/png"), wanted(b"text/csv;q=0.1, */*")
        ('text/csv', 'application/json', 'application/json')
    """
    best, weight = JSON_TYPE, 0.0
    for part in (value or b"").decode("latin-1").lower().split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        kind = JSON_TYPE if name in ("*/*", "application/*") else CSV_TYPE if name == "text/*" else _NAMES.get(name)
        quality = next((_quality(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
        if kind is not None and quality > weight:
            best, weight = kind, quality
    return best


def _quality(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
