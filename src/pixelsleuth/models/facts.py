"""What is known of a baseline without running it: paper, licence, options, and where its weights come from.

Each baseline's file holds its own `facts = Facts(...)`, and nothing else lists them. To import such a file is to import
torch, so `FACTS` reads that expression out of the file's text: `pixelsleuth models` needs no torch and no list.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Literal

from pixelsleuth.core.names import suggestion
from pixelsleuth.core.verdict import Label
from pixelsleuth.errors import UsageError

ANYTHING = "FOLDER"
"""Among an option's variants: any other text is accepted as well."""
CHECKPOINT_SETTINGS = ("*.json", "*.model", "*.txt")
"""Files of a whole checkpoint beside its weights: settings and tokenizer."""


@dataclass(frozen=True)
class Remote:
    """A file of a repository: its path there, its SHA-256 ("": unknown) and its bytes (0: unknown)."""

    path: str
    sha256: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        """The name under which it is kept."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Origin:
    """A repository, and the files of it that a detector needs.

    `revision` is a commit ("": unknown; the current one is looked up and written down). `files` are kept without their
    folders; without `files` a whole checkpoint is fetched (see `of_checkpoint`). `folder` is where the files go inside
    the detector's folder. `size` is the approximate number of bytes of a whole checkpoint.
    """

    repository: str
    revision: str = ""
    files: tuple[Remote, ...] = ()
    folder: str = ""
    host: Literal["hub", "github"] = "hub"
    size: int = 0

    @property
    def bytes(self) -> int:
        """Approximate size of the download; 0 where it is unknown."""
        return sum(file.size for file in self.files) or self.size

    @property
    def page(self) -> str:
        """The address of the repository's page."""
        return f"https://{'huggingface.co' if self.host == 'hub' else 'github.com'}/{self.repository}"

    @property
    def pinned(self) -> bool:
        """True where the hash of every file is known: then any server may send them."""
        return bool(self.files) and all(file.sha256 for file in self.files)

    def place(self, name: str) -> str:
        """A file's name in the detector's folder."""
        return f"{self.folder}/{name}" if self.folder else name


CLIP_TOWER = Origin(
    "openai/clip-vit-large-patch14",
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
    folder="openai/clip-vit-large-patch14",
    size=1_710_540_580,
)
"""The vision tower that checkpoints of SIDA and LISA name and do not hold; it is looked for beside them."""


def of_checkpoint(names: Sequence[str]) -> list[str]:
    """The files of a repository that make its checkpoint: settings, tokenizer, and weights, safetensors preferred.

    >>> of_checkpoint(["README.md", "config.json", "model.safetensors", "pytorch_model.bin"])
    ['config.json', 'model.safetensors']
    """
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if fnmatchcase(name, "*.safetensors")]
    weights = weights or [name for name in top if fnmatchcase(name, "*.bin")]
    small = [name for name in top if any(fnmatchcase(name, pattern) for pattern in CHECKPOINT_SETTINGS)]
    return small + weights if weights else []


@dataclass(frozen=True)
class Facts:
    """What is known of a baseline without running it.

    `files` are the expected file names; `--weights` takes the first, or a folder where there are several. `made_for` is
    the class that "fake" stands for. `options` are named variants; the first of each is the default, which is the
    published table's. `parameters` counts weights, `compressible` those that int8 and int4 make smaller (0: the
    baseline runs in full precision only). `localizes`: it draws masks. `known_by`: a key that only its checkpoints
    hold. `published`: figures that others report, for orientation; nothing is decided by them. `light`: its published
    file runs without torch, since a graph without weights ships. `no_graph`: why it cannot become an ONNX graph.
    `origins`: where `pixelsleuth models get` fetches its weights (none: they are fetched by hand, see `where`).
    """

    name: str
    title: str
    paper: str
    source: str
    licence: str
    where: str
    files: tuple[str, ...]
    made_for: Label
    parameters: int
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    localizes: bool = False
    known_by: str = ""
    published: str = ""
    light: bool = False
    no_graph: str = ""
    compressible: int = 0
    origins: tuple[Origin, ...] = ()

    def variant(self, options: Mapping[str, str]) -> dict[str, str]:
        """The value of every option: the one in `options`, else the default.

        Raises:
            UsageError: no such option or variant.
        """
        for name, value in options.items():
            if name not in self.options:
                known = suggestion(name, self.options) if self.options else "; it has none"
                raise UsageError(f"{self.title} has no option {name!r}{known}")
            variants = self.options[name]
            if value not in variants and ANYTHING not in variants:
                raise UsageError(f"{self.title} has no {name}={value}{suggestion(value, variants)}")
        return {name: variants[0] for name, variants in self.options.items()} | dict(options)


_MODELS = Path(__file__).parent
_ELSEWHERE = {"lisa": "sida.lisa"}
"""Baselines that lie beside the model that they share their parts with."""
_FACTS = re.compile(r"^    facts = (Facts\(\n.*?^    \))$", re.MULTILINE | re.DOTALL)
_NAMES: dict[str, Any] = {
    "__builtins__": {}, "ANYTHING": ANYTHING, "CLIP_TOWER": CLIP_TOWER, "Facts": Facts, "Label": Label,
    "Origin": Origin, "Remote": Remote,
}  # fmt: skip


def module_of(name: str) -> str:
    """The module that holds a baseline."""
    return f"pixelsleuth.models.{_ELSEWHERE.get(name, f'baselines.{name}')}"


@functools.cache
def _read(name: str) -> Facts:
    """The facts in a baseline's file. Raises KeyError where there is no such baseline."""
    path = (
        _MODELS.joinpath(*module_of(name).split(".")[2:]).with_suffix(".py")
        if name.isidentifier()
        else _MODELS
    )
    block = _FACTS.search(path.read_text(encoding="utf-8")) if path.is_file() else None
    if block is None:
        raise KeyError(name)
    try:
        facts = eval(
            block[1], _NAMES
        )  # an expression of this package's own files, which an import would run, too
    except (NameError, TypeError) as error:
        raise ValueError(f"{path}: write facts out, in words of models/facts.py alone ({error}).") from error
    if facts.name != name:
        raise ValueError(f"{path}: facts.name must be the file's name, not {facts.name!r}.")
    return facts


class _FactsByName(Mapping[str, Facts]):
    """Facts by a baseline's name, which is its file's, in alphabetical order; each file is read when it is needed."""

    def __getitem__(self, name: str) -> Facts:
        return _read(name)

    def __iter__(self) -> Iterator[str]:
        names = {path.stem for path in (_MODELS / "baselines").glob("*.py")} | _ELSEWHERE.keys()
        return (name for name in sorted(names) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


FACTS: Mapping[str, Facts] = _FactsByName()
