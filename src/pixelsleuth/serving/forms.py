"""Multipart forms, read piece by piece into memory or onto the disk; python-multipart finds the parts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pixelsleuth.errors import BadRequest, BodyTooLarge

MOST_FIELDS = 16
"""Parts of a form that are no files; what they hold is not used."""


class Sink(Protocol):
    """Where the bytes of one file go."""

    def write(self, data: bytes, /) -> object: ...
    def close(self) -> None: ...


class FormReader:
    """Reads one form; `open_sink` is called with the name of each file, None where it has none.

    At most `most` files are taken, each of at most `limit` bytes. Raises BadRequest where it is no form, or has
    more; BodyTooLarge; and what a sink raises.
    """

    def __init__(
        self, content_type: str, open_sink: Callable[[str | None], Sink], *, most: int, limit: int
    ) -> None:
        self.open_sink, self.most, self.limit = open_sink, most, limit
        self.files = self._fields = self._size = 0
        self._sink: Sink | None = None
        self._whole = False
        self._field = self._value = b""
        self._disposition: bytes = b""
        boundary = parse_options_header(content_type)[1].get(b"boundary")
        if not boundary:
            raise BadRequest(
                "The form has no boundary; let your client set the content type of the form itself."
            )
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": self._header_field,
                    "on_header_value": self._header_value,
                    "on_header_end": self._header_end,
                    "on_headers_finished": self._headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end,
                    "on_end": self._complete,
                },
            )
        except FormParserError as error:
            raise BadRequest(f"The form cannot be read ({error}).") from None

    def write(self, data: bytes) -> None:
        """Take the next bytes of the form."""
        try:
            self._parser.write(data)
        except FormParserError as error:
            raise BadRequest(f"The form cannot be read ({error}).") from None

    def finish(self) -> None:
        """The form is at its end. Raises BadRequest where it is cut off, or holds no file."""
        if not self._whole:
            raise BadRequest("The form is cut off; send it again.")
        if not self.files:
            raise BadRequest(
                "The form has no file; send the picture as a file, such as curl -F file=@photo.jpg."
            )

    def close(self) -> None:
        """Close the file that is still open, after an error."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None

    def _begin(self) -> None:
        self._disposition, self._size = b"", 0

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._field += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._field.lower() == b"content-disposition":
            self._disposition = self._value
        self._field = self._value = b""

    def _headers(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if b"filename" not in options:
            self._fields += 1
            if self._fields > MOST_FIELDS:
                raise BadRequest(f"The form has more than {MOST_FIELDS} fields beside its files.")
            return
        self.files += 1
        if self.files > self.most:
            raise BadRequest(f"The form has more than {self.most} files; send fewer at a time.")
        self._sink = self.open_sink(clean_name(decoded(options[b"filename"])))

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._sink is None:
            return
        self._size += end - start
        if self._size > self.limit:
            raise BodyTooLarge(f"A file has more than {self.limit / 1e6:g} MB; scale the picture down.")
        self._sink.write(data[start:end])

    def _end(self) -> None:
        self.close()

    def _complete(self) -> None:
        self._whole = True


NAME_LETTERS = 1024
"""Longest name of a file that a record takes over."""


def decoded(name: bytes) -> str:
    """A name as it was meant: browsers and curl send UTF-8.

    >>> decoded("é.jpg".encode()), decoded(b"\\xe9.jpg")
    ('é.jpg', 'é.jpg')
    """
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("latin-1")


def clean_name(name: str | None) -> str | None:
    """The name that a record carries: as it came, within bounds, without what does not print.

    >>> clean_name("holiday\\n.jpg"), clean_name("")
    ('holiday .jpg', None)
    """
    shown = (letter if letter.isprintable() else " " for letter in (name or "")[:NAME_LETTERS])
    return "".join(shown).strip() or None
