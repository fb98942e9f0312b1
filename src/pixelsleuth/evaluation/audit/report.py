"""The audit as words, plots and one self-contained HTML page.

`result` is what `audit.json` holds (docs/reference/audit.md). Numbers become words by `BOUNDS`, here alone.
"""

from __future__ import annotations

import base64
from datetime import datetime
from pathlib import Path
from typing import Any

from pixelsleuth.core.io import write_text
from pixelsleuth.evaluation.report.curves import DARK, LIGHT, SERIES
from pixelsleuth.reporting.page import OUR_PAGE, environment, style

BOUNDS = ((0.6, "say little"), (0.75, "say something"), (0.95, "say much"), (1.01, "give the label away"))
"""Upper bounds of the AUROC and what it means."""
KINDS = {"headers": "Headers", "text": "Descriptions", "thumbnails": "Thumbnails"}
STATES = {
    "say little": "real",
    "say something": "inconclusive",
    "say much": "tampered",
    "give the label away": "tampered",
}
MEANING = {
    "headers": "container, size, quantisation tables, file size, EXIF and metadata; no pixel is decoded",
    "text": "the words of the descriptions alone; a description written from the label must give it away",
    "thumbnails": "24 x 24 pixels: motif, colour, framing; no trace of editing survives that",
}
MOST_SOURCES = 40


def strength(value: float) -> str:
    """What an AUROC means in words. Below 0.5 the classifier learned nothing that holds on new pictures.

    >>> strength(0.52), strength(0.7), strength(0.999)
    ('say little', 'say something', 'give the label away')
    """
    return next(word for bound, word in BOUNDS if value < bound)


def sentences(result: dict[str, Any]) -> list[str]:
    """The verdict: a sentence for each kind of evidence, what equalising changed, and advice."""
    lines = [_kind_sentence(kind, result[kind]) for kind in KINDS]
    after = result["equalised"]
    if after:
        for kind in ("headers", "thumbnails"):
            before, then = result[kind]["auroc"], after[kind]["auroc"]
            if before is not None and then is not None:
                lines.append(
                    f"Equalised, {KINDS[kind].lower()} {strength(then)}: {before:.3f} becomes {then:.3f}."
                )
    lines.append(_advice(result))
    return lines


def _kind_sentence(kind: str, figures: dict[str, Any]) -> str:
    name = KINDS[kind]
    if figures["auroc"] is None:
        return f"{name}: not measured, because {figures['why']}."
    low, high = figures["interval"]
    word = strength(figures["auroc"])
    about = "" if word.endswith("away") else " about the label"
    text = f"{name} {word}{about}: AUROC {figures['auroc']:.3f} ({low:.3f} to {high:.3f})"
    worst = max(figures["pairs"], key=lambda pair: abs(figures["pairs"][pair] - 0.5))
    if len(figures["pairs"]) > 1:
        text += f", most of all for {_pair(worst)} ({figures['pairs'][worst]:.3f})"
    kinds = figures.get("by_kind")
    if kinds and figures["auroc"] >= BOUNDS[0][0]:
        best = sorted(kinds, key=lambda part: -kinds[part])[:2]
        text += "; " + " and ".join(f"{part} alone {kinds[part]:.3f}" for part in best)
    if figures.get("new_sources") is not None:
        text += f"; on sources never seen {figures['new_sources']:.3f}"
    return text + "."


def _pair(pair: str) -> str:
    return pair.replace("_", " ").replace(" / ", " against ")


def _advice(result: dict[str, Any]) -> str:
    headers = result["headers"]["auroc"]
    after = (result["equalised"] or {}).get("headers", {}).get("auroc")
    if headers is None:
        return "The headers were not measured; the reason stands above."
    if strength(headers) == "say little":
        return "Headers are no shortcut here; thumbnails above 0.6 mean that content differs between the classes."
    if after is None:
        return "A score on these files measures the shortcut; equalise before training and evaluation."
    if after < headers - 0.05:
        return "A score on the raw files measures the shortcut; use the equalised ones, and report figures by source."
    return "Equalising does not help enough: what is left in the headers follows the content; report figures by source."


def write_report(result: dict[str, Any], path: Path, *, left_out: str = "") -> None:
    """Write the page to `path`; `left_out` is a sentence. Raises OutputError where that is impossible."""
    from pixelsleuth import __version__

    now = datetime.now().astimezone()
    values = {
        **style(),
        "version": __version__,
        "date": f"{now.day} {now:%B %Y, %H:%M %Z}".strip(),
        "result": result,
        "kinds": KINDS,
        "meaning": MEANING,
        "left_out": left_out,
        "parts": [
            _part("", result),
            *(_part(f"Split {name}", part) for name, part in result["splits"].items()),
        ],
    }
    page = environment(__package__).get_template("audit.html.j2").render(values)
    write_text(path, page, kind="HTML report", ours=OUR_PAGE)


def _part(title: str, result: dict[str, Any]) -> dict[str, Any]:
    """What the page shows of the whole set, or of one split."""
    words = {kind: strength(result[kind]["auroc"]) for kind in KINDS if result[kind]["auroc"] is not None}
    return {
        "title": title,
        "result": result,
        "lines": sentences(result),
        "words": words,
        "states": {kind: STATES[word] for kind, word in words.items()},
        "plots": _plots(result),
        "rows": source_rows(result),
        "pairs": pair_rows(result),
        "telling": result["text"].get("words"),
    }


def pair_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a kind of evidence and pair of classes: the raw and the equalised figure."""
    after = result["equalised"] or {}
    return [
        {
            "kind": name,
            "pair": pair,
            "raw": value,
            "equalised": (after.get(kind, {}).get("pairs") or {}).get(pair),
        }
        for kind, name in KINDS.items()
        for pair, value in (result[kind].get("pairs") or {}).items()
    ]


def source_rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """One row a source and class: raw and equalised figures, for the table and the plot."""
    rows = []
    after = result["equalised"] or {}
    sides = [
        (f"{kind}{mark}", part.get(kind) or {})
        for mark, part in (("", result), (" equalised", after))
        for kind in ("headers", "thumbnails")
    ]
    sources: dict[str, dict[str, Any]] = result["headers"].get("by_source") or {}
    for source, figures in sources.items():
        for label, own in figures["classes"].items():
            row = {"source": source, "label": label, "pictures": own["pictures"]}
            for name, part in sides:
                there = (part.get("by_source") or {}).get(source, {}).get("classes", {}).get(label)
                row[name] = there["auroc"] if there else None
            row["within"] = figures["within"]
            rows.append(row)
    return rows


def _plots(result: dict[str, Any]) -> list[dict[str, str]]:
    """Plots as data URIs, each for a light and a dark page."""
    overview = (
        "How much each kind of evidence gives away, all sources together. Bars: 95 % interval over groups."
    )
    drawn: dict[str, Any] = {overview: _plot_overview}
    if result["headers"].get("by_kind"):
        drawn["Which part of the headers gives it away: each kind of feature alone."] = _plot_kinds
    if len(source_rows(result)) > 1:
        text = "By source: the pictures of one source and class against all pictures of the other classes."
        drawn[text] = _plot_sources
    return [
        {"caption": caption}
        | {mode: _picture(draw, result, dark=mode == "dark") for mode in ("light", "dark")}
        for caption, draw in drawn.items()
    ]


def _picture(draw: Any, result: dict[str, Any], *, dark: bool) -> str:
    import io

    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    palette, series = (DARK, SERIES["dark"]) if dark else (LIGHT, SERIES["light"])
    colours = {"raw": series[1], "equalised": series[2]}
    ink, soft, line = palette["ink"], palette["soft"], palette["line"]
    style: dict[str, Any] = {"font.size": 10, "font.family": "sans-serif"}
    style |= dict.fromkeys(("text.color", "ytick.color", "ytick.labelcolor"), ink)
    style |= dict.fromkeys(("axes.labelcolor", "xtick.color"), soft)
    style |= dict.fromkeys(("axes.edgecolor", "grid.color"), line)
    with rc_context(style):
        figure = Figure(figsize=(8.4, 3), layout="constrained")
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        draw(axes, result, colours)
        axes.axvline(0.5, color=soft, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_xlim(0, 1.02)
        axes.set_xlabel("AUROC: 0.5 chance, 1 the label is given away")
        axes.grid(axis="x", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        stream = io.BytesIO()
        FigureCanvasAgg(figure).print_png(stream, pil_kwargs={"optimize": True}, metadata={"Software": None})
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()


def _plot_overview(axes: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    figure = axes.get_figure()
    figure.set_dpi(170)
    names, sides = list(KINDS), [("raw", result), ("equalised", result["equalised"] or {})]
    figure.set_size_inches(8.4, 2.6)
    for offset, (side, part) in zip((0.14, -0.14), sides, strict=True):
        for position, kind in enumerate(reversed(names)):
            figures = part.get(kind) or {}
            if figures.get("auroc") is None:
                continue
            value, (low, high) = figures["auroc"], figures["interval"]
            y = position + offset
            axes.plot([low, high], [y, y], color=colours[side], linewidth=2, solid_capstyle="round")
            axes.plot([value], [y], "o", color=colours[side], markersize=7)
            at, where = (low - 0.015, "right") if value > 0.85 else (high + 0.015, "left")
            axes.text(at, y, f"{value:.3f}", va="center", ha=where, fontsize=9)
    axes.set_yticks(range(len(names)), [KINDS[name] for name in reversed(names)])
    axes.set_ylim(-0.6, len(names) - 0.4)
    _legend(axes, colours, result)


def _plot_kinds(axes: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    kinds = result["headers"]["by_kind"]
    after = (result["equalised"] or {}).get("headers", {}).get("by_kind") or {}
    names = sorted(kinds, key=lambda kind: kinds[kind])
    axes.get_figure().set_dpi(170)
    axes.get_figure().set_size_inches(8.4, 3.1)
    for position, name in enumerate(names):
        axes.barh(position + 0.19, kinds[name], height=0.34, color=colours["raw"])
        axes.text(kinds[name] + 0.008, position + 0.19, f"{kinds[name]:.3f}", va="center", fontsize=9)
        if name in after:
            axes.barh(position - 0.19, after[name], height=0.34, color=colours["equalised"])
            axes.text(after[name] + 0.008, position - 0.19, f"{after[name]:.3f}", va="center", fontsize=9)
    axes.set_yticks(range(len(names)), names)
    _legend(axes, colours, result)


def _plot_sources(axes: Any, result: dict[str, Any], colours: dict[str, str]) -> None:
    rows = source_rows(result)[:MOST_SOURCES]
    axes.get_figure().set_dpi(150)
    axes.get_figure().set_size_inches(8.4, 1.1 + 0.26 * len(rows))
    for position, row in enumerate(reversed(rows)):
        for mark, kind in (("o", "headers"), ("s", "thumbnails")):
            for side, key in (("raw", kind), ("equalised", f"{kind} equalised")):
                if row[key] is not None:
                    axes.plot(
                        [row[key]], [position], mark, color=colours[side], markersize=6,
                        fillstyle="full" if kind == "headers" else "none",
                    )  # fmt: skip
    names = [f"{row['source']}, {row['label'].replace('_', ' ')}" for row in reversed(rows)]
    axes.set_yticks(range(len(rows)), names, fontsize=8.5)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    for mark, kind in (("o", "headers"), ("s", "thumbnails")):
        axes.plot(
            [], [], mark, color="#888888", label=kind, fillstyle="full" if kind == "headers" else "none"
        )
    _legend(axes, colours, result)


def _legend(axes: Any, colours: dict[str, str], result: dict[str, Any]) -> None:
    from matplotlib.patches import Patch

    handles = [Patch(color=colours["raw"], label="files as they are")]
    if result["equalised"]:
        handles.append(Patch(color=colours["equalised"], label="equalised"))
    marks, _ = axes.get_legend_handles_labels()
    handles += marks
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=len(handles), frameon=False, fontsize=9,
        borderaxespad=0.2, handlelength=1,
    )  # fmt: skip
