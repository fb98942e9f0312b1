"""Prepare a release: python tools/release.py, or `make release`; `--tag` also tags the commit.

It refuses a tree with changes, another branch than main, a version without a dated section of CHANGELOG.md, a version
that differs between pyproject.toml, the package and CITATION.cff, a version that is tagged already, and failing checks.
Then it builds what is published (tools/dist.py). It changes no file and pushes nothing.
`--state` stops before the checks: `make release` asks for that first, and installs nothing for what is refused.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import tomllib
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.dist import DistError, build

ROOT = Path(__file__).resolve().parents[1]
BRANCH = "main"
CHECKS = ["make", "--no-print-directory", "test"]


def git(root: Path, *arguments: str) -> str:
    """What a git command prints, without the line's end. Raises CalledProcessError."""
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def version_of(root: Path) -> str:
    """The version in pyproject.toml."""
    content = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(content["project"]["version"])


def refusals(root: Path) -> list[str]:
    """Why this state of the repository is no release: a sentence a reason; empty where it may be one."""
    if not (root / ".git").exists() or shutil.which("git") is None:
        return ["Releases are made of a clone, with git: this folder is none, or git is not installed."]
    version, reasons = version_of(root), []
    if changed := git(root, "status", "--porcelain"):
        reasons.append(f"The tree has changes that are not committed:\n{changed}")
    branch = git(root, "rev-parse", "--abbrev-ref", "HEAD")
    if branch != BRANCH:
        reasons.append(f"Releases are made of {BRANCH}, and this is {branch}.")
    if not re.fullmatch(r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?", version):
        reasons.append(f"{version} is no version to publish, such as 1.2.3 or 1.2.3rc1.")
    if git(root, "tag", "--list", f"v{version}"):
        reasons.append(f"v{version} is tagged already: raise the version in pyproject.toml and _version.py.")
    reasons += [*wrong_versions(root, version), *wrong_section(root, version)]
    return reasons


def wrong_versions(root: Path, version: str) -> list[str]:
    """The files that name another version than pyproject.toml."""
    places = {
        "src/pixelsleuth/_version.py": rf'^__version__ = "{re.escape(version)}"$',
        "CITATION.cff": rf"^version: {re.escape(version)}$",
    }
    return [
        f"{name} does not say {version}, as pyproject.toml does."
        for name, pattern in places.items()
        if not re.search(pattern, (root / name).read_text(encoding="utf-8"), re.MULTILINE)
    ]


def wrong_section(root: Path, version: str) -> list[str]:
    """What is wrong with the version's section of the changelog: it is missing, empty or has no date."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    section = re.search(
        rf"^## {re.escape(version)} \(([^)\n]*)\)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL
    )
    if section is None:
        return [f"CHANGELOG.md has no section '## {version} (YYYY-MM-DD)'."]
    try:
        date.fromisoformat(section[1])
    except ValueError:
        return [f"CHANGELOG.md calls {version} '{section[1]}': write its date, such as {date.today()}."]
    return [] if section[2].strip() else [f"The section of {version} in CHANGELOG.md says nothing."]


def main() -> None:
    parser = argparse.ArgumentParser(description="Check this commit and build the files of a release.")
    parser.add_argument("--tag", action="store_true", help="Also tag the commit vVERSION (no push).")
    parser.add_argument(
        "--state", action="store_true", help="Say why this state is no release; do nothing else."
    )
    parser.add_argument("--out", type=Path, default=ROOT / "dist")
    arguments = parser.parse_args()
    if reasons := refusals(ROOT):
        sys.exit("\n".join(["This is no release:", *reasons]))
    if arguments.state:
        return
    if subprocess.run(CHECKS, cwd=ROOT).returncode:
        sys.exit(f"This is no release: {' '.join(CHECKS)} fails.")
    try:
        files = build(arguments.out)
    except DistError as error:
        sys.exit(f"This is no release: {error}")
    if again := refusals(ROOT):  # the checks took minutes
        for file in files:
            file.unlink()
        sys.exit("\n".join(["The repository changed meanwhile:", *again]))
    print(*(f"{file.name}: {file.stat().st_size} bytes" for file in files), sep="\n")
    if arguments.tag:
        name = f"v{version_of(ROOT)}"
        git(ROOT, "tag", "--annotate", name, "--message", f"PixelSleuth {name[1:]}")
        print(f"tagged {name}; to publish: git push origin {name}")


if __name__ == "__main__":
    main()
