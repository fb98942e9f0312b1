"""Build wheel and source archive, check them, list what the core brings: `make dist`; python tools/dist.py [FOLDER].

The folder then holds pixelsleuth-VERSION-py3-none-any.whl, pixelsleuth-VERSION.tar.gz, pixelsleuth-VERSION.cdx.json
(the software bill of materials, CycloneDX, of a plain install with the pins of constraints.txt) and SHA256SUMS. The
same commit gives the same bytes: files carry the time of the commit.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LARGEST = 40 * 1024 * 1024
"""Bytes of a wheel: what an installation without a download of weights may cost."""


class DistError(Exception):
    """A package that must not be published, in one sentence."""


def build(out: Path, tools: Path | None = None) -> list[Path]:
    """Build, check and describe the packages in `out`, which is emptied of older ones; returns the files.

    tools: the folder of the programs of the extra `release`; default: those beside this interpreter.

    Raises:
        DistError: a tool refuses a package, or a package is too large.
    """
    tools = tools or Path(sys.executable).parent
    environment = os.environ | {"SOURCE_DATE_EPOCH": epoch()}
    out.mkdir(parents=True, exist_ok=True)
    for old in [*out.glob("pixelsleuth-*"), *out.glob("SHA256SUMS")]:
        old.unlink()
    run([tools / "python", "-m", "build", "--no-isolation", "--outdir", out, ROOT], environment)
    (wheel,), (archive,) = out.glob("*.whl"), out.glob("*.tar.gz")
    for package in (wheel, archive):
        if package.stat().st_size > LARGEST:
            raise DistError(
                f"{package.name} has {package.stat().st_size} bytes; at most {LARGEST} are allowed."
            )
    run([tools / "twine", "check", "--strict", wheel, archive], environment)
    run([tools / "check-wheel-contents", wheel], environment)
    bill = out / f"{archive.name.removesuffix('.tar.gz')}.cdx.json"
    list_materials(wheel, bill, tools, environment)
    files = sorted([wheel, archive, bill])
    sums = out / "SHA256SUMS"
    sums.write_text("".join(f"{digest(file)}  {file.name}\n" for file in files), encoding="utf-8")
    return [*files, sums]


def epoch() -> str:
    """The time of the last commit in seconds; without a repository, that of the last change of the changelog."""
    done = subprocess.run(["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or str(int((ROOT / "CHANGELOG.md").stat().st_mtime))


def list_materials(wheel: Path, bill: Path, tools: Path, environment: dict[str, str]) -> None:
    """Write the bill of materials of an environment with the wheel and what it requires, and nothing else."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=False)
        python = Path(folder) / "bin" / "python"
        pins = ROOT / "constraints.txt"
        run(
            [tools / "python", "-m", "pip", "--python", python, "install", "-q", wheel, "-c", pins],
            environment,
        )
        for origin in Path(folder).glob("lib/*/site-packages/pixelsleuth-*.dist-info/direct_url.json"):
            origin.unlink()  # where the wheel lay on this machine is nobody's business
        command: list[str | Path] = [
            tools / "cyclonedx-py",
            "environment",
            "--output-reproducible",
            "--pyproject",
            ROOT / "pyproject.toml",
        ]
        run([*command, "--mc-type", "application", "--output-file", bill, python], environment)


def run(command: list[str | Path], environment: dict[str, str]) -> None:
    """Run a command of the release; what it says is shown where it fails. Raises DistError."""
    done = subprocess.run(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        raise DistError(f"{' '.join(Path(word).name for word in command[:4])} failed:\n{done.stdout}")


def digest(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description="Build and check the packages of a release.")
    parser.add_argument("folder", type=Path, nargs="?", default=ROOT / "dist")
    folder: Path = parser.parse_args().folder
    try:
        for file in build(folder):
            print(f"{digest(file)}  {file} ({file.stat().st_size} bytes)")
    except DistError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
