"""What `chat` does: read a line, ask the model, print the answer, save its mask."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pixelsleuth.core.io import write_bytes
from pixelsleuth.errors import OutputError, PictureError, UsageError

if TYPE_CHECKING:
    from pixelsleuth.core.detector import Detector, Talk, Turn
    from pixelsleuth.pictures.images import Picture

HELP = """An empty line asks: {question}
/image PATH  open another picture
/prompt      show what an empty line asks; /prompt TEXT changes it
/help        show this list
/quit        end (also Ctrl-D)"""
MOST_REMEMBERED = 1000


class Session:
    """One run of `chat`. The picture is opened first: loading the model may take minutes."""

    def __init__(self, load: Callable[[], Detector], image: str, out: str) -> None:
        self.out = Path(out)
        self.picture = _open(image)
        self.detector = load()
        self.question = self.detector.question
        self.talk: Talk = self.detector.converse(self.picture)
        self.saved = 0

    def run(self) -> None:
        """Answer lines until the input ends."""
        shown = f"{self.picture.width} x {self.picture.height}"
        click.echo(
            f"{self.detector.name} looks at {self.picture.source} ({shown}). /help lists the commands."
        )
        with history():
            for line in lines():
                if line in ("/quit", "/exit"):
                    break
                try:
                    self.answer(line)
                except (PictureError, UsageError) as error:
                    click.echo(f"Error: {error}", err=True)

    def answer(self, line: str) -> None:
        """Carry out a command, or ask the model."""
        command, _, argument = line.partition(" ")
        if not line.startswith("/"):
            self.show(self.talk.ask(line or self.question))
        elif command == "/image":
            picture = _open(argument.strip())
            self.talk = self.detector.converse(picture)
            self.picture = picture
            click.echo(f"Now {picture.source} ({picture.width} x {picture.height}).")
        elif command == "/prompt":
            self.question = argument.strip() or self.question
            click.echo(self.question)
        elif command == "/help":
            click.echo(HELP.format(question=self.question))
        else:
            raise UsageError(f"There is no command {command}; /help lists them.")

    def show(self, turn: Turn) -> None:
        """Print an answer and save its mask."""
        click.echo(turn.text or "(no words)")
        if turn.probabilities is not None:
            ranked = sorted(turn.probabilities.items(), key=lambda pair: -pair[1])
            click.echo("  ".join(f"{label.replace('_', ' ')} {chance:.1%}" for label, chance in ranked))
        if turn.mask is not None:
            path = self.save(turn)
            click.echo(f"Mask: {path} ({turn.mask.mean():.1%} of the picture)")
        elif turn.note:
            click.echo(f"{turn.note[0].upper()}{turn.note[1:]}.")

    def save(self, turn: Turn) -> Path:
        """Write the mask as PNG (255 = tampered) under a free name; return its path."""
        from PIL import Image

        stem = Path(self.picture.source).stem or "picture"
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            while (path := self.out / f"{stem}-mask-{self.saved + 1}.png").exists():
                self.saved += 1
        except OSError as error:
            raise OutputError(
                f"{self.out} cannot be written ({error.strerror}); name another --out."
            ) from error
        assert turn.mask is not None
        encoded = io.BytesIO()
        Image.fromarray(turn.mask).save(encoded, "PNG")
        write_bytes(path, encoded.getvalue(), kind="mask")
        self.saved += 1
        return path


def _open(image: str) -> Picture:
    from pixelsleuth.pictures.images import open_picture

    if not image:
        raise UsageError("Name a picture: /image PATH.")
    return open_picture(image)


def lines() -> Iterator[str]:
    """Lines from standard input; with a prompt on a terminal."""
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return


@contextlib.contextmanager
def history() -> Iterator[None]:
    """Arrow keys recall earlier questions, also of earlier conversations."""
    if not sys.stdin.isatty():
        yield
        return
    try:
        import readline
    except ImportError:  # a Python without it
        yield
        return
    home = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")
    path = home / "pixelsleuth" / "chat_history"
    with contextlib.suppress(OSError):
        readline.read_history_file(path)
    readline.set_history_length(MOST_REMEMBERED)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            readline.write_history_file(path)
