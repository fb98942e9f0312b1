"""How much memory a model takes at which precision, how much there is, and which choice fits.

The figures are estimates: weights at their size, and a constant for what one picture needs on the way (mostly SAM's
global attention).
"""

from __future__ import annotations

from collections.abc import Mapping

BYTES = {"fp32": 4.0, "bf16": 2.0, "int8": 1.05, "int4": 0.57}
"""Bytes a compressible parameter takes; int8 and int4 with their scales."""
WORKING = {"fp32": 3_000_000_000, "bf16": 1_500_000_000, "int8": 1_500_000_000, "int4": 1_500_000_000}
"""Bytes for one picture on the way, in models of more than a billion parameters."""


def needed(parameters: int, compressible: int, precision: str) -> int:
    """Estimated bytes; what is not compressible stays in bf16 under int8 and int4.

    >>> round(needed(7_700_000_000, 6_476_000_000, "bf16") / 1e9, 1)
    16.9
    """
    rest = 4.0 if precision == "fp32" else 2.0
    weights = compressible * BYTES[precision] + (parameters - compressible) * rest
    return int(weights + WORKING[precision] * min(1.0, parameters / 1e9))


def free_main_memory() -> int | None:
    """Bytes of main memory that can still be taken; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as handle:
            lines = dict(line.split(":", 1) for line in handle)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def too_little(name: str, choices: Mapping[str, int], precision: str, free: int) -> str:
    """The sentence for a model that does not fit: what it needs, what there is, which choice fits.

    >>> print(too_little("sida-7b", {"bf16": 17_000_000_000, "int4": 7_600_000_000}, "bf16", 8_000_000_000))
    sida-7b needs about 17.0 GB at bf16 and 8.0 GB are free: --precision int4 (about 7.6 GB) fits.
    """
    fitting = [
        (size, choice) for choice, size in choices.items() if size <= free and size < choices[precision]
    ]
    if fitting:
        size, choice = max(fitting)
        advice = f"--precision {choice} (about {size / 1e9:.1f} GB) fits"
    else:
        advice = "no precision of it fits; a smaller model does, see 'pixelsleuth models'"
    wanted = f"{name} needs about {choices[precision] / 1e9:.1f} GB at {precision}"
    return f"{wanted} and {free / 1e9:.1f} GB are free: {advice}."
