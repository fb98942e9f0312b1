"""The tokenizer of the published checkpoints: LLaMA's slow SentencePiece tokenizer in its legacy mode.

transformers 4.31's LlamaTokenizer cuts the text at the added tokens, strips the white space beside each of them, and
gives every part in between to SentencePiece, which puts a space before it. Today's fast tokenizer does none of this and
returns other ids, that is, a prompt that the model was not trained on. Decoding joins the parts as that version does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pixelsleuth.core.content import ensure_content
from pixelsleuth.errors import UsageError

LARGEST_MODEL = 64_000_000
"""Bytes; LLaMA's tokenizer.model has half a million."""
ADDED_FILES = ("added_tokens.json", "tokenizer_config.json", "tokenizer.json")
"""Files with added tokens: transformers before 4.34 writes the first, later versions the others."""


class LegacyTokenizer:
    """Ids of `tokenizer.model` plus the added tokens of `added_tokens.json`.

    Args:
        model: bytes of a SentencePiece model whose first ids are `<unk>`, `<s>`, `</s>`.
        added: token to id, beyond the model's own.

    Raises:
        UsageError: the bytes are no SentencePiece model.
    """

    def __init__(self, model: bytes, added: dict[str, int]) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            self.pieces = SentencePieceProcessor(model_proto=model)
            self.own = self.pieces.get_piece_size()
        except RuntimeError:
            raise UsageError("tokenizer.model is damaged: copy or download the checkpoint again.") from None
        self.added = dict(added)
        self.model = model
        self.names = {index: token for token, index in self.added.items()}
        self.bos, self.eos, self.unknown = (self.pieces.bos_id(), self.pieces.eos_id(), self.pieces.unk_id())
        self.special = {self.pieces.id_to_piece(i): i for i in (self.unknown, self.bos, self.eos) if i >= 0}
        whole = sorted([*self.special, *self.added], key=len, reverse=True)
        self._cut = re.compile(f"({'|'.join(map(re.escape, whole))})")

    @classmethod
    def from_folder(cls, folder: Path) -> LegacyTokenizer:
        """Read `tokenizer.model` and the added tokens of `ADDED_FILES`.

        White space beside an added token is stripped, whatever newer files state: the published checkpoints were
        trained so.

        Raises:
            UsageError: a file is missing or damaged, or two files give a token different ids.
        """
        path = folder / "tokenizer.model"
        if not path.is_file():
            raise UsageError(f"{folder} lacks tokenizer.model: copy or download the whole checkpoint.")
        if path.stat().st_size > LARGEST_MODEL:
            raise UsageError(
                f"{path} has more than {LARGEST_MODEL // 10**6} MB, so it is no tokenizer: copy the checkpoint again."
            )
        ensure_content(path)
        bare = cls(path.read_bytes(), {})
        added: dict[str, int] = {}
        for name in ADDED_FILES:
            for token, index in _added_in(folder / name).items():
                if bare.is_own(token, index):
                    continue
                if added.setdefault(token, index) != index:
                    raise UsageError(
                        f"{folder} gives {token} two ids ({added[token]}, and {index} in {name}): take the tokenizer "
                        "files of one checkpoint."
                    )
        return cls(bare.model, added)

    def is_own(self, token: str, index: int) -> bool:
        """True for a piece of the SentencePiece model under its own id: newer files list `<s>` as an added token."""
        return 0 <= index < self.own and bool(self.pieces.id_to_piece(index) == token)

    def save(self, folder: Path) -> None:
        """Write `tokenizer.model` and `added_tokens.json`."""
        (folder / "tokenizer.model").write_bytes(self.model)
        (folder / "added_tokens.json").write_text(json.dumps(self.added, indent=2) + "\n")

    def __len__(self) -> int:
        return max([self.own - 1, *self.names]) + 1

    def id(self, token: str) -> int:
        """The id of an added token.

        Raises:
            UsageError: the tokenizer has no such token, so the checkpoint is not SIDA's.
        """
        if token not in self.added:
            raise UsageError(
                f"The tokenizer has no {token}, which SIDA's checkpoints add: take the tokenizer files of the same "
                "folder."
            )
        return self.added[token]

    def encode(self, text: str, *, bos: bool = True) -> list[int]:
        """Ids of a text; white space beside an added token is dropped (not beside `<s>`, `</s>`, `<unk>`)."""
        parts = self._cut.split(text)
        ids = [self.bos] if bos else []
        for index, part in enumerate(parts):
            if index % 2:
                ids.append(self.added.get(part, self.special.get(part, self.unknown)))
                continue
            if index and parts[index - 1] in self.added:
                part = part.lstrip()
            if index + 1 < len(parts) and parts[index + 1] in self.added:
                part = part.rstrip()
            ids += self.pieces.encode(part) if part else []
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids with the special tokens; added tokens are set off by spaces."""
        texts: list[str] = []
        run: list[int] = []
        for index in ids:
            if index in self.names:
                if run:
                    texts.append(self._decode_run(run))
                texts.append(self.names[index])
                run = []
            else:
                run.append(int(index))
        if run:
            texts.append(self._decode_run(run))
        return " ".join(texts)

    def _decode_run(self, ids: Sequence[int]) -> str:
        """Text of ids without added tokens; special tokens by name, with a space before the first of a run."""
        text, after_special = "", False
        run: list[int] = []
        names = {index: token for token, index in self.special.items()}
        for place, index in enumerate(ids):
            if index in names:
                if not after_special and place:
                    text += " "
                text += self.pieces.decode(run) + names[index]
                after_special, run = True, []
            elif 0 <= index < self.own:
                run.append(index)
                after_special = False
        return text + self.pieces.decode(run)


def _added_in(path: Path) -> dict[str, int]:
    """Added tokens to ids in one of `ADDED_FILES`; empty where there is no such file.

    Raises:
        UsageError: it is damaged.
    """
    if not path.is_file():
        return {}
    ensure_content(path)
    damaged = f"{path} is damaged: it should map added tokens to their ids; copy it again."
    if path.stat().st_size > LARGEST_MODEL:
        raise UsageError(damaged)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if path.name == "added_tokens.json":
            return {str(token): int(index) for token, index in content.items()}
        if path.name == "tokenizer_config.json":
            entries = content.get("added_tokens_decoder") or {}
            return {str(entry["content"]): int(index) for index, entry in entries.items()}
        return {str(entry["content"]): int(entry["id"]) for entry in content.get("added_tokens") or []}
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise UsageError(damaged) from None
