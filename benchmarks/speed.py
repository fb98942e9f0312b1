"""How fast, how large: latency, whole command, start of the command line, peak memory, installed size.

    python benchmarks/speed.py                      # everything, on two cores, the bundled detector
    python benchmarks/speed.py --json speed.json    # the same figures for a program
    python benchmarks/speed.py --skip-install       # leave out the fresh environment (it fetches packages)

Every measurement runs in a process of its own, so that none profits from what another has loaded. The table holds the
median and the slowest of several runs, and the first check after loading apart from the later ones. The picture is a
JPEG of 1024 x 768 made from photographs inside scikit-image's wheel (`--picture FILE` names another). The table goes
into docs/background/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MEGABYTE = 1e6

WORKER = """
import json, sys, time
start = time.perf_counter()
import pixelsleuth
detector = pixelsleuth.load(sys.argv[1], device="cpu")
loaded = time.perf_counter()
times = []
for _ in range(int(sys.argv[3])):
    begin = time.perf_counter()
    verdict = detector.check(sys.argv[2], explain=True)
    verdict.mask, verdict.explanation
    times.append(time.perf_counter() - begin)
print(json.dumps({"load": loaded - start, "checks": times, "label": verdict.label,
                  "words": len((verdict.explanation or "").split())}))
"""


@dataclass
class Figure:
    """One row of the table; `value` and `worst` are in `unit`, `goal` is the most that is allowed."""

    name: str
    value: float
    unit: str
    worst: float | None = None
    goal: float | None = None
    note: str = ""

    @property
    def met(self) -> bool | None:
        return None if self.goal is None else self.value <= self.goal


@dataclass
class Run:
    seconds: float
    peak_mb: float
    output: str


def run(command: Sequence[str]) -> Run:
    """Run a command; wall time, peak resident memory of that process, standard output.

    Raises RuntimeError with the end of its standard error if its status is not 0.
    """
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors)
        # wait4 and not RUSAGE_CHILDREN: the latter is the maximum over all children so far.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            raise RuntimeError(
                f"{' '.join(command)} ended with {process.returncode}: {errors.read()[-2000:]}"
            )
        unit = 1 if sys.platform == "darwin" else 1024
        return Run(seconds, usage.ru_maxrss * unit / MEGABYTE, output.read())


def write_pictures(folder: Path) -> None:
    """A tampered JPEG of 1024 x 768, the same at 12 megapixels, and a folder of sixteen smaller pictures."""
    try:
        from skimage import data
    except ImportError:
        raise SystemExit("scikit-image is missing: run `make setup`, or give --picture FILE") from None
    from PIL import Image

    scene = Image.fromarray(data.coffee()).resize((1024, 768), Image.Resampling.LANCZOS)
    patch = Image.fromarray(data.astronaut()).crop((120, 0, 330, 230))
    scene.paste(patch, (560, 330))
    scene.save(folder / "small.jpg", quality=90)
    scene.resize((4000, 3000), Image.Resampling.BICUBIC).save(folder / "large.jpg", quality=90)
    many = folder / "many"
    many.mkdir()
    for index in range(16):
        corner = 20 * index
        scene.crop((corner, corner, corner + 512, corner + 384)).save(many / f"{index:02d}.jpg", quality=90)


def make_pictures(folder: Path) -> tuple[Path, Path, Path]:
    """`write_pictures` in a process of its own; (1024 x 768, 4000 x 3000, folder of many).

    The kernel adds the memory that a parent held at the fork to its child's peak, so this process must stay
    small: it imports neither numpy nor Pillow.
    """
    writer = multiprocessing.get_context("spawn").Process(target=write_pictures, args=(folder,))
    writer.start()
    writer.join()
    if writer.exitcode:
        raise SystemExit("the pictures to measure with could not be made")
    return folder / "small.jpg", folder / "large.jpg", folder / "many"


def measure_start(cli: list[str], repeats: int) -> Figure:
    times = [run([*cli, "--help"]).seconds for _ in range(repeats)]
    return Figure("`pixelsleuth --help`", statistics.median(times), "s", max(times), 0.1)


def measure_import(repeats: int) -> Figure:
    """`import pixelsleuth` in a new process, without the start of the interpreter."""
    code = "import time; t = time.perf_counter(); import pixelsleuth; print(time.perf_counter() - t)"
    times = [float(run([sys.executable, "-c", code]).output) for _ in range(repeats)]
    return Figure("`import pixelsleuth`", statistics.median(times), "s", max(times), 0.06)


def measure_check(model: str, picture: Path, repeats: int) -> list[Figure]:
    """Load, first check and later checks with mask and explanation, inside one Python process."""
    done = run([sys.executable, "-c", WORKER, model, str(picture), str(repeats + 1)])
    measured = json.loads(done.output)
    first, *later = measured["checks"]
    answer = f"{measured['label']}, explanation of {measured['words']} words"
    return [
        Figure("import and load", measured["load"], "s"),
        Figure("first check after loading", first, "s", goal=1.5, note=answer),
        Figure("later checks", statistics.median(later), "s", max(later), 1.5),
        Figure("peak memory of that process", done.peak_mb, "MB", goal=700),
    ]


def measure_command(
    cli: list[str],
    model: str,
    paths: list[Path],
    name: str,
    repeats: int,
    goals: tuple[float | None, float | None],
    *,
    options: Sequence[str] = (),
) -> list[Figure]:
    """`pixelsleuth check` with `options` from the shell: wall time of the whole command and its peak memory."""
    command = [*cli, "check", *map(str, paths), "--model", model, "--device", "cpu", "--format", "json"]
    command += options
    runs = [run(command) for _ in range(repeats)]
    count = len(json.loads(runs[0].output))
    seconds, memory = [r.seconds for r in runs], [r.peak_mb for r in runs]
    note = f"{count / statistics.median(seconds):.1f} pictures a second" if count > 1 else ""
    return [
        Figure(f"whole command, {name}", statistics.median(seconds), "s", max(seconds), goals[0], note),
        Figure(f"peak memory, {name}", statistics.median(memory), "MB", max(memory), goals[1]),
    ]


def size_of(folder: Path) -> float:
    """Bytes of the regular files below a folder, in units of 10^6 bytes."""
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6


def measure_install(folder: Path) -> list[Figure]:
    """Installed size of the core without extras, in a fresh environment."""
    env = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", str(env)], check=True)
    (site,) = env.glob("lib/python*/site-packages")
    before = size_of(site)
    command = [str(env / "bin/python"), "-m", "pip", "install", "--quiet", str(ROOT)]
    subprocess.run([*command, "-c", str(ROOT / "constraints.txt")], check=True, stderr=subprocess.DEVNULL)
    own = size_of(site / "pixelsleuth")
    torch = "torch is there: this is a fault" if (site / "torch").exists() else "no torch"
    note = f"{torch}; {own:.0f} MB of it PixelSleuth; not counted: pip and setuptools, {before:.0f} MB"
    size = Figure("installed size of the core", size_of(site) - before, "MB", goal=250, note=note)
    return [size]


def machine(cores: int) -> dict[str, str]:
    """What the figures depend on besides the code."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = names[0].split(":", 1)[1].strip() if names else model
    facts = {"processor": model, "cores used": str(cores), "system": platform.system()}
    facts["python"] = platform.python_version()
    for name in ("pixelsleuth", "numpy", "pillow", "onnxruntime"):
        facts[name] = metadata.version(name)
    if hasattr(os, "getloadavg"):
        facts["load before"] = f"{os.getloadavg()[0]:.1f}"
    return facts


def table(figures: list[Figure]) -> str:
    """Markdown, as it goes into docs/background/benchmarks.md."""
    lines = ["| what | median | slowest | goal | met | note |", "|---|---:|---:|---:|---|---|"]
    for f in figures:
        digits = 2 if f.unit == "s" else 0
        worst = "" if f.worst is None else f"{f.worst:.{digits}f} {f.unit}"
        goal = "" if f.goal is None else f"{f.goal:g} {f.unit}"
        met = {None: "", True: "yes", False: "**no**"}[f.met]
        lines.append(f"| {f.name} | {f.value:.{digits}f} {f.unit} | {worst} | {goal} | {met} | {f.note} |")
    return "\n".join(lines)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="compact", help="name of the detector (default: compact)")
    parser.add_argument("--picture", type=Path, help="the picture to judge instead of the generated one")
    parser.add_argument(
        "--cores", type=int, default=2, help="cores to run on, where the system allows it (2)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each measurement (5)")
    parser.add_argument("--skip-install", action="store_true", help="do not measure the installed size")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    return parser.parse_args()


def main() -> None:
    options = parse()
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))[: options.cores]
        os.sched_setaffinity(0, allowed)  # inherited by every child
        cores = len(allowed)
    facts = machine(cores)
    cli = [sys.executable, "-m", "pixelsleuth"]
    script = Path(sys.executable).with_name("pixelsleuth")
    if script.exists():
        cli = [str(script)]
    model, repeats = options.model, options.repeats
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        figures = [measure_import(max(repeats, 5)), measure_start(cli, max(repeats, 5))]
        if options.picture:
            figures += measure_check(model, options.picture, repeats)
            label = options.picture.name
            figures += measure_command(cli, model, [options.picture], label, repeats, (3.0, 700))
        else:
            small, large, many = make_pictures(folder)
            figures += measure_check(model, small, repeats)
            figures += measure_command(cli, model, [small], "1024 x 768", repeats, (1.2, 700))
            figures += measure_command(cli, model, [large], "4000 x 3000", repeats, (None, 700))
            figures += measure_command(cli, model, [many], "16 of 512 x 384", 1, (None, 700))
            batched = ("--batch-size", "8")
            figures += measure_command(
                cli, model, [many], "the same, 8 at once", 1, (5.2, 700), options=batched
            )
        if not options.skip_install:
            figures += measure_install(folder)
    print(", ".join(f"{key} {value}" for key, value in facts.items()), end="\n\n")
    print(table(figures))
    if options.json:
        rows = [{**asdict(f), "met": f.met} for f in figures]
        record = {"machine": facts, "model": model, "figures": rows}
        options.json.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if any(figure.met is False for figure in figures):
        print("\nSome goals were not met.", file=sys.stderr)


if __name__ == "__main__":
    main()
