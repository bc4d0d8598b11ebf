"""A rollout's report as a file: HTML with its plots inside, which needs nothing else to be looked at, or PNG."""

from __future__ import annotations

import html
import io
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.cli.rollout_lines import arm_lines, disagreement_lines, event_line, judgement_lines, rollout_line
from penstock.core.errors import InvalidInput, Unsupported
from penstock.storage.disk import disk_errors

if TYPE_CHECKING:
    from penstock.control.records import RolloutEvent, RolloutRecord
    from penstock.rollout.judgement import RolloutReport

FORMATS = (".html", ".png")
_COLOURS = {"better": "#1a7f37", "not-worse": "#2f6fb5", "worse": "#b42318", "inconclusive": "#777777"}
_STYLE = (
    "body{font:15px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em}pre{overflow:auto}svg{max-width:100%}"
)


def write_report(path: Path, record: RolloutRecord, report: RolloutReport, events: Iterable[RolloutEvent]) -> None:
    """Write the file, whole or not at all.

    Raises InvalidInput (`invalid-choice`) for another suffix, Unsupported (`missing-extra`), Unavailable.
    """
    if path.suffix.lower() not in FORMATS:
        raise InvalidInput("invalid-choice", f"{path.name} is no kind of file we write", hint=", ".join(FORMATS))
    image = _plot(record, report, path.suffix.lower())
    data = image if path.suffix.lower() == ".png" else _page(record, report, events, image.decode()).encode()
    partial = path.with_name(f".{path.name}.partial")
    with disk_errors(str(path)):
        partial.write_bytes(data)
        partial.replace(path)


def _plot(record: RolloutRecord, report: RolloutReport, suffix: str) -> bytes:
    """Each metric's difference and where it surely is, over time, with its margin."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        raise Unsupported("missing-extra", f"plots need {error.name}", hint="pip install 'penstock[plot]'") from error
    names = list(report.series)
    figure = Figure(figsize=(8, 2.6 * max(1, len(names))), layout="constrained")
    for axes, name in zip(figure.subplots(max(1, len(names)), squeeze=False)[:, 0], names, strict=False):
        _draw(axes, record, report, name)
    canvas: Any = FigureCanvasAgg(figure) if suffix == ".png" else FigureCanvasSVG(figure)
    into = io.BytesIO()
    # Without the date: the same report is the same file.
    canvas.print_figure(into, format=suffix.removeprefix(".") if suffix == ".png" else "svg", metadata=_undated(suffix))
    return into.getvalue()


def _undated(suffix: str) -> dict[str, None]:
    return {"Software": None} if suffix == ".png" else {"Date": None}


def _draw(axes: Any, record: RolloutRecord, report: RolloutReport, name: str) -> None:
    points = [one for one in report.series[name] if one.judged.low is not None and one.judged.high is not None]
    times = [datetime.fromisoformat(one.at) for one in points]
    known = report.judgement.metrics.get(name)
    colour = _COLOURS[known.verdict if known is not None else "inconclusive"]
    lows, highs = [one.judged.low for one in points], [one.judged.high for one in points]
    axes.fill_between(times, lows, highs, color=colour, alpha=0.25, linewidth=0)
    axes.plot(times, [one.judged.difference for one in points], color=colour)
    axes.axhline(0, color="black", linewidth=0.8)
    if known is not None:
        metric = record.rollout.plan.judged[name]
        margin = known.margin if metric.lower_is_better else -known.margin
        axes.axhline(margin, color="#b42318", linewidth=0.8, linestyle="--")
        # The first bounds are as wide as can be; what is looked at is where they end.
        reach = max(abs(value) for value in (known.low or 0, known.high or 0, 2 * known.margin))
        axes.set_ylim(-1.5 * reach or None, 1.5 * reach or None)
    axes.set_title(f"{name}: {known.verdict if known is not None else 'nothing seen'}", loc="left")
    axes.tick_params(axis="x", labelsize=8)


def _page(record: RolloutRecord, report: RolloutReport, events: Iterable[RolloutEvent], svg: str) -> str:
    # A bare <svg>: what stands before it is for files of their own.
    svg = svg[svg.index("<svg") :]
    title = html.escape(rollout_line(record))
    parts = [f"<h1>Rollout {record.id} of {html.escape(record.rollout.endpoint)}</h1>", f"<p>{title}</p>", svg]
    for heading, lines in (
        ("Verdicts", judgement_lines(report.judgement)),
        ("Steps and arms", arm_lines(report.arms)),
        ("Disagreement", disagreement_lines(report.disagreement)),
        ("Decisions", map(event_line, events)),
    ):
        text = html.escape("\n".join(lines))
        if text:
            parts.append(f"<h2>{heading}</h2><pre>{text}</pre>")
    body = "\n".join(parts)
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>{body}'
