"""Runs the blocks of a page as its reader would, one after the other, in a folder that holds the files it names.

`pixelsleuth` runs in this process, unless a pipe or a variable needs a shell. `pixelsleuth serve` runs in the
background until the next one, and its address stands in for http://127.0.0.1:8000. `pip install` is not run: that this
project has the extras is checked in its place.
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from page_blocks import Block, Command

ROOT = Path(__file__).resolve().parents[2]
EXTRAS = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
SERVICE = "http://127.0.0.1:8000"
SECONDS = 900


class PageRunner:
    """Runs blocks in `folder`; `serve(*options)` starts a service and returns its address and what stops it."""

    def __init__(self, folder: Path, serve: Callable[..., tuple[str, Callable[[], Any]]]) -> None:
        self.folder = folder
        self.serve = serve
        self.url = SERVICE
        self.stop: Callable[[], Any] = lambda: None
        self.environment = self._environment()

    def _environment(self) -> dict[str, str]:
        """Like this process, with `pixelsleuth` and `python` on the path."""
        programs = self.folder / ".programs"
        programs.mkdir()
        for name, words in (("pixelsleuth", f"{sys.executable} -m pixelsleuth"), ("python", sys.executable)):
            (programs / name).write_text(f'#!/bin/sh\nexec {words} "$@"\n')
            (programs / name).chmod(0o755)
        return os.environ | {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "100"}

    def close(self) -> None:
        self.stop()

    def run(self, block: Block) -> None:
        """Run one block. Raises AssertionError with what went wrong."""
        if block.how == "file":
            (self.folder / block.what).write_text(block.body, encoding="utf-8")
        elif block.language == "python":
            self._python(block)
        elif block.language == "sql":
            import duckdb

            assert duckdb.sql(block.body.strip().removesuffix(";")).fetchall(), f"line {block.line}: no row"
        elif block.language == "console":
            commands = block.commands
            assert commands, f"line {block.line}: a console block has no line that begins with `$ `"
            for i, command in enumerate(commands, start=1):
                self._command(command, block.status if i == len(commands) else 0, block.line)

    def _python(self, block: Block) -> None:
        """Each block stands alone: no names of an earlier one."""
        code = ast.parse(block.body.replace(SERVICE, self.url))
        names: dict[str, Any] = {"__name__": "__page__"}
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(code, f"<line {block.line}>", "exec"), names)

    def _command(self, command: Command, expected: int, line: int) -> None:
        text = command.line.replace(SERVICE, self.url)
        words = shlex.split(text, comments=True)
        if words[:3] == ["python", "-m", "pixelsleuth"]:
            words = words[2:]
        if words[0] == "pip":
            check_install(words)
            return
        if words[:2] == ["pixelsleuth", "serve"]:
            self.stop()
            self.url, self.stop = self.serve(*words[2:])
            return
        status, output = self._shell(text) if needs_shell(words, text) else self._here(words)
        assert status == expected, f"line {line}: {command.line}\nended with {status}\n{output}"
        check_output(command, output)

    def _here(self, words: list[str]) -> tuple[int, str]:
        """Run `pixelsleuth` in this process; a last `> FILE` takes its standard output."""
        from pixelsleuth.cli.main import main

        target = words[-1] if ">" in words else ""
        arguments = words[1 : words.index(">")] if target else words[1:]
        result = CliRunner().invoke(main, arguments, env={"COLUMNS": "100"})
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        if target:
            Path(target).write_bytes(result.stdout_bytes)
        return result.exit_code, result.output

    def _shell(self, text: str) -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-c", f"set -o pipefail; {text}"],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return done.returncode, done.stdout


def needs_shell(words: list[str], text: str) -> bool:
    """Whether a command is more than `pixelsleuth` with arguments, and perhaps `> FILE` behind them."""
    if words[0] != "pixelsleuth" or "ray" in words:  # Ray's driver writes to streams that have a number
        return True
    outside = re.sub(r"'[^']*'|\"[^\"]*\"", "", text)
    return bool(re.search(r"[|<;&]|\$\(", outside)) or (">" in outside and words[-2] != ">")


def check_install(words: list[str]) -> None:
    """`pip install .` or `pip install '.[EXTRA]'`: the project itself, with extras that it has."""
    match = re.fullmatch(r"\.(?:\[([a-z0-9,-]+)\])?", words[-1])
    assert words[:2] == ["pip", "install"], f"{words} is not run and cannot be checked"
    assert len(words) == 3, f"{words} is not run and cannot be checked"
    assert match, f"{words[-1]} is not this project"
    assert set(filter(None, (match[1] or "").split(","))) <= EXTRAS, f"no extra {match[1]}"


def bare(line: str) -> str:
    """A line without what differs from run to run, model to model and width to width: numbers, digests of weights,
    bars, blanks."""
    line = re.sub(r"\+[0-9a-f]{8}\b", "+#", re.sub(r"[█░]+", "#", line))
    return re.sub(r"\s+", " ", re.sub(r"\d+", "0", line)).strip()


def check_output(command: Command, output: str) -> None:
    """What the page shows under a command is what it prints; `...` stands for what the page leaves out."""
    printed = [bare(line) for line in output.splitlines()]
    missing = [line for line in command.output if line != "..." and bare(line) not in printed]
    assert not missing, f"{command.line}\ndoes not print {missing}\nbut\n{output}"
