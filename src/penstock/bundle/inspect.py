"""A bundle in a few lines for people."""

from __future__ import annotations

from penstock.bundle.bundle import Bundle
from penstock.core.signature import Field


def describe(bundle: Bundle) -> list[tuple[str, str]]:
    """Pairs of a label and a text, in the order to read them."""
    manifest = bundle.manifest
    lines = [
        ("name", manifest.name),
        ("digest", bundle.digest),
        ("kind", manifest.kind),
        ("served", f"{manifest.served.runtime}: {manifest.evidence.reason}"),
        ("batching", f"{'allowed' if manifest.batching.allowed else 'refused'}: {manifest.batching.reason}"),
        ("golden", f"{manifest.golden.rows or manifest.golden.calls} {'rows' if manifest.golden.rows else 'calls'}"),
        ("environment", f"Python {manifest.environment.python}, {manifest.environment.platform}"),
        ("size", f"{sum(entry.size for entry in manifest.files.values()):,} bytes in {len(manifest.files)} files"),
    ]
    lines += [("input", _field(field)) for field in manifest.signature.inputs]
    lines += [("output", _field(field)) for field in manifest.signature.outputs]
    if manifest.signature.classes is not None:
        lines.append(("classes", ", ".join(map(str, manifest.signature.classes))))
    if manifest.lineage.git_commit:
        lines.append(("git", manifest.lineage.git_commit + (" (changed since)" if manifest.lineage.git_dirty else "")))
    if manifest.waiver is not None:
        lines.append(("waiver", manifest.waiver.reason))
    if manifest.licence:
        lines.append(("licence", manifest.licence))
    return lines


def _field(field: Field) -> str:
    marks = [
        word
        for word, said in (("nullable", field.nullable), ("closed", field.closed), ("sensitive", field.sensitive))
        if said
    ]
    return f"{field.name} {field.datatype}{list(field.shape)} {' '.join(marks)}".rstrip()
