"""Plots of a report: ROC, reliability, risk against coverage, robustness; by matplotlib, as SVG in a data URI.

Each is drawn twice, for light and for dark pages, so that the page can choose. The same figures give the same bytes.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np

LIGHT = {"ink": "#1d2125", "soft": "#59616a", "line": "#dedad0", "none": "#b9b4a8"}
DARK = {"ink": "#e9e6df", "soft": "#a5adb5", "line": "#31363c", "none": "#5a6168"}
SERIES = {
    "light": ("#1f5fbf", "#b3261e", "#1a6b50", "#6a3ea1", "#7b5800"),
    "dark": ("#8ab8ff", "#ff9488", "#7dd6b3", "#ccacff", "#f0c862"),
}
CURVES = {"fake": "fake / real", "full_synthetic": "full synthetic / real", "tampered": "tampered / real"}
ROBUST = {"balanced_accuracy": "balanced accuracy", "auroc": "AUROC fake / real", "pixel_f1": "pixel F1"}
STYLES = ("-", "--", ":", "-.")
INSIDE = 6
"""Up to so many entries of a legend stand inside the axes."""
Draw = Callable[[Any, dict[str, str], tuple[str, ...]], None]
Plot = dict[str, str]


def plots_of(result: dict[str, Any]) -> list[Plot]:
    """`{"title", "alt", "light", "dark"}` of every plot that the result can give; none without matplotlib."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return []
    models = result["models"]
    plots = []
    if any(_clean(model).get("roc") for model in models):
        several = len(models) > 1
        title = "ROC: fake against real" if several else "ROC"
        plots.append(_plot(title, lambda axes, c, s: _roc(axes, models, c, s), "False alarms", "Hits"))
    if any(_clean(model).get("calibration") for model in models):
        plots.append(
            _plot("Calibration", lambda a, c, s: _reliability(a, models, c, s), "Confidence", "Accuracy")
        )
        plots.append(
            _plot("Risk and coverage", lambda a, c, s: _risk(a, models, c, s), "Judged", "Wrong among them")
        )
    if any(len(model["conditions"]) > 1 for model in models):
        for name, words in ROBUST.items():
            if any(
                name in condition["figures"] for model in models for condition in model["conditions"].values()
            ):
                plots.append(_robustness(name, words, models))
    return plots


def _clean(model: dict[str, Any]) -> dict[str, Any]:
    first: dict[str, Any] = next(iter(model["conditions"].values()))
    return first


def _plot(title: str, draw: Draw, x: str, y: str, width: float = 4.4) -> Plot:
    texts = {"title": title, "alt": f"Plot: {title}. {y} against {x.lower()}."}
    return texts | {
        mode: _svg(draw, colours, SERIES[mode], x, y, width)
        for mode, colours in (("light", LIGHT), ("dark", DARK))
    }


def _svg(draw: Draw, colours: dict[str, str], series: tuple[str, ...], x: str, y: str, width: float) -> str:
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    settings: Any = {"svg.hashsalt": "pixelsleuth", "svg.fonttype": "none", "font.family": "sans-serif",
                "font.sans-serif": ["DejaVu Sans"], "font.size": 9}  # fmt: skip
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, 3.5), layout="constrained")
        FigureCanvasSVG(figure)
        figure.patch.set_alpha(0)
        axes = figure.add_subplot()
        axes.patch.set_alpha(0)
        for spine in axes.spines.values():
            spine.set_color(colours["line"])
        axes.tick_params(colors=colours["soft"], length=3)
        axes.grid(color=colours["line"], linewidth=0.6)
        axes.set_axisbelow(True)
        axes.set_xlabel(x, color=colours["soft"])
        axes.set_ylabel(y, color=colours["soft"])
        draw(axes, colours, series)
        entries = len(axes.get_legend_handles_labels()[0])
        look: dict[str, Any] = {"frameon": False, "labelcolor": colours["ink"], "fontsize": 8}
        if entries > INSIDE:  # below the axes, where they hide no curve
            figure.set_figheight(3.5 + 0.17 * -(-entries // 2))
            figure.legend(loc="outside lower center", ncols=2, **look)
        elif entries:
            axes.legend(**look)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _line(number: int, series: tuple[str, ...]) -> dict[str, Any]:
    """Colour and stroke of a curve: strokes change when colours have been gone through."""
    return {
        "color": series[number % len(series)],
        "linestyle": STYLES[number // len(series) % len(STYLES)],
        "linewidth": 1.6,
    }


def _roc(axes: Any, models: list[Any], colours: dict[str, str], series: tuple[str, ...]) -> None:
    axes.plot([0, 1], [0, 1], color=colours["none"], linewidth=0.8, linestyle=":")
    lines = [
        (model["name"] if len(models) > 1 else CURVES[name], curve)
        for model in models
        for name, curve in _clean(model).get("roc", {}).items()
        if len(models) == 1 or name == "fake"
    ]
    for number, (label, curve) in enumerate(lines):
        axes.plot(curve["false_alarms"], curve["hits"], label=label, **_line(number, series))
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.01)


def _reliability(axes: Any, models: list[Any], colours: dict[str, str], series: tuple[str, ...]) -> None:
    axes.plot([0, 1], [0, 1], color=colours["none"], linewidth=0.8, linestyle=":")
    for number, model in enumerate(models):
        bins = _clean(model).get("calibration", [])
        if bins:
            most = max(entry["pictures"] for entry in bins)
            x, y = [entry["confidence"] for entry in bins], [entry["accuracy"] for entry in bins]
            line = _line(number, series)
            axes.plot(x, y, label=model["name"], **line)
            sizes = [12 + 70 * entry["pictures"] / most for entry in bins]
            axes.scatter(x, y, s=sizes, color=line["color"], alpha=0.75)
    axes.set_xlim(0.3, 1.01)
    axes.set_ylim(-0.02, 1.02)


def _risk(axes: Any, models: list[Any], colours: dict[str, str], series: tuple[str, ...]) -> None:
    for number, model in enumerate(models):
        curve = _clean(model).get("risk_coverage")
        if curve:
            line = _line(number, series)
            axes.plot(curve["coverage"], curve["risk"], label=model["name"], **line)
            figures = _clean(model)["figures"]
            own = [figures.get(name, {}).get("value") for name in ("coverage", "conclusive_accuracy")]
            if None not in own:
                label = None if number else "its own inconclusive"
                axes.scatter([own[0]], [1 - own[1]], marker="D", s=28, color=line["color"], label=label)
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)


def _robustness(name: str, figure: str, models: list[Any]) -> Plot:
    conditions = list(models[0]["conditions"])

    def draw(axes: Any, colours: dict[str, str], series: tuple[str, ...]) -> None:
        for number, model in enumerate(models):
            rows = [model["conditions"][condition]["figures"].get(name, {}) for condition in conditions]
            shown = [(i, row) for i, row in enumerate(rows) if row.get("value") is not None]
            x, y = [i for i, _ in shown], [row["value"] for _, row in shown]
            low, high = (
                [row["value"] if row[end] is None else row[end] for _, row in shown]
                for end in ("low", "high")
            )
            reach = np.maximum(0.0, [np.subtract(y, low), np.subtract(high, y)])
            axes.errorbar(x, y, yerr=reach, color=series[number % len(series)], marker="o", markersize=4,
                          linewidth=1.4, capsize=3, elinewidth=0.8, label=model["name"])  # fmt: skip
        axes.set_xticks(range(len(conditions)), conditions, rotation=35, ha="right")
        axes.set_ylim(0, 1.02)

    return _plot(
        f"Robustness: {figure}", draw, "", figure[:1].upper() + figure[1:], max(4.4, 0.62 * len(conditions))
    )
