"""Where the weights of a detector can be fetched from: repository, commit, files and hashes, as far as they are known.

`models.catalogue` puts them beside each detector, `models.fetching.fetch` fetches by them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

PERMISSIVE = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT")
"""Licences under which weights are fetched without a question."""
SMALL = ("*.json", "*.model", "*.txt")
"""Of a whole checkpoint, beside the weights: settings and tokenizer."""


@dataclass(frozen=True)
class Remote:
    """A file of a repository: its path there, its SHA-256 ("" not known) and bytes (0 not known)."""

    path: str
    sha256: str = ""
    size: int = 0

    @property
    def name(self) -> str:
        """The name under which it is kept."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class Origin:
    """A repository, and what of it a detector needs.

    `revision` is a commit ("" not known: that of the day is looked up and written down). `files` are taken by name and
    kept without their folders; where there are none, a whole checkpoint is taken (see `of_checkpoint`). `folder`: where
    in the detector's folder it goes. `size`: bytes of a whole checkpoint, about.
    """

    repository: str
    revision: str = ""
    files: tuple[Remote, ...] = ()
    folder: str = ""
    host: Literal["hub", "github"] = "hub"
    size: int = 0

    @property
    def bytes(self) -> int:
        """What a fetch brings, about; 0 where it is not known."""
        return sum(file.size for file in self.files) or self.size

    @property
    def page(self) -> str:
        """The address for people."""
        return f"https://{'huggingface.co' if self.host == 'hub' else 'github.com'}/{self.repository}"

    @property
    def pinned(self) -> bool:
        """True where the hash of every file is known: then it does not matter who sends it."""
        return bool(self.files) and all(file.sha256 for file in self.files)

    def place(self, name: str) -> str:
        """A file's name in the detector's folder."""
        return f"{self.folder}/{name}" if self.folder else name


def of_checkpoint(names: Sequence[str]) -> list[str]:
    """Which of a repository's files make its checkpoint: settings, tokenizer, and weights, safetensors preferred.

    >>> of_checkpoint(["README.md", "config.json", "model.safetensors", "pytorch_model.bin"])
    ['config.json', 'model.safetensors']
    """
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if fnmatchcase(name, "*.safetensors")]
    weights = weights or [name for name in top if fnmatchcase(name, "*.bin")]
    small = [name for name in top if any(fnmatchcase(name, pattern) for pattern in SMALL)]
    return small + weights if weights else []


_CLIP = Origin(
    "openai/clip-vit-large-patch14",
    "32bd64288804d66eefd0ccbe215aa642df71cc41",
    folder="openai/clip-vit-large-patch14",
    size=1_710_540_580,
)
"""The vision tower that the checkpoints of SIDA and LISA name and do not hold; it is looked for beside them."""

# Hashes are those that the hub, or readers of the repositories, state of these files; what is not known stays out.
ORIGINS: Mapping[str, tuple[Origin, ...]] = {
    "commfor": (
        Origin(
            "OwensLab/commfor-model-384",
            "6076002bf0d9dd37537f965ee2f06f826c333b61",
            (
                Remote(
                    "model.safetensors",
                    "b89f36275f3bf5e2b040eee36597a8f19db051bff9a473a9cf7b2466284fb387",
                    87_262_324,
                ),
            ),
        ),
    ),
    "dda": (
        Origin(
            "Junwei-Xi/Dual-Data-Alignment",
            "4390d9023899196b437480bb6a441915ef5d816c",
            (
                Remote(
                    "DDA_ckpt.pth",
                    "b27a31d39374803ddeff02bfabb2be76e190b04300490cddfafb24f683f37e3e",
                    1_255_621_296,
                ),
            ),
        ),
    ),
    "pscc_net": (
        Origin(
            "proteus1991/PSCC-Net",
            "53e5ff77d8dc5feddda060cd085f9b765761f816",
            (
                Remote(
                    "checkpoint/HRNet_checkpoint/HRNet.pth",
                    "d3b21edc4930187a6801cc818bd7b999fb5d8078d8f2e2193572e91ea5160096",
                    8_305_545,
                ),
                Remote(
                    "checkpoint/NLCDetection_checkpoint/NLCDetection.pth",
                    "11ea3461253cf059b299ad4b6b89008485f94a2d2b2da83ec28c2282a095b00b",
                    2_900_709,
                ),
                Remote(
                    "checkpoint/DetectionHead_checkpoint/DetectionHead.pth",
                    "a17581e8a3489a360257a266ca9b2db1b7c9b43337fbcc4aeb8d751f593f66f5",
                    3_739_969,
                ),
            ),
            host="github",
        ),
    ),
    "lisa": (
        Origin("xinlai/LISA-7B-v1", "43c754eef75871fcc11c84d3930a402f7b0a754f", size=16_120_000_000),
        _CLIP,
    ),
    "sida-7b": (Origin("saberzl/SIDA-7B", size=14_820_000_000), _CLIP),
    "sida-7b-description": (Origin("saberzl/SIDA-7B-description", size=14_820_000_000), _CLIP),
    "sida-13b": (Origin("saberzl/SIDA-13B", size=27_410_000_000), _CLIP),
    "sida-13b-description": (Origin("saberzl/SIDA-13B-description", size=27_410_000_000), _CLIP),
    "fakevlm": (Origin("lingcco/fakeVLM", size=14_130_000_000),),
}
"""By detector. Sizes of whole checkpoints follow from their parameters."""

AUTO = ("commfor", "pscc_net")
"""What `pixelsleuth models get auto` fetches: small, under permissive licences, one for either kind of fake."""
