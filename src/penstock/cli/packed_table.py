"""The table that shows what packing proved and measured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

if TYPE_CHECKING:
    from penstock.pack import Packed


def packed_table(packed: Packed) -> Table:
    """Kind, rows compared, largest difference, labels equal, and µs per row before and after at 1 and 64 rows."""
    manifest, evidence = packed.manifest, packed.manifest.evidence
    table = Table(
        title=f"{manifest.name}: {'optimised' if evidence.converted else 'served as given'}", show_header=False
    )
    table.add_column(style="bold")
    table.add_column()
    table.add_row("kind", manifest.kind)
    table.add_row("served", f"{manifest.served.runtime} ({evidence.reason})")
    if evidence.converted:
        table.add_row("rows compared", f"{evidence.rows_compared} of the sample, {evidence.perturbed_rows} perturbed")
        table.add_row("largest difference", f"{evidence.largest_difference:.2g}")
        ties = f", except {evidence.ties} at exact ties" if evidence.ties else ""
        table.add_row("labels equal", ("yes" if evidence.labels_equal else "no") + ties)
    for timing in packed.timings:
        before, after = timing.original_us, timing.served_us
        gain = f"  ({before / after:.0f} x)" if evidence.converted else ""
        rows = f"µs per row, {timing.rows} row{'s' if timing.rows > 1 else ''}"
        table.add_row(rows, f"{before:,.1f} → {after:,.1f}{gain}" if evidence.converted else f"{before:,.1f}")
    table.add_row("batching", ("yes: " if manifest.batching.allowed else "no: ") + manifest.batching.reason)
    golden = manifest.golden
    count = f"{golden.calls} calls" if golden.calls else f"{golden.rows} rows"
    made = ", made up" if golden.synthetic else ""
    table.add_row("golden", f"{count}{made}, {'deterministic' if golden.deterministic else 'not deterministic'}")
    return table
