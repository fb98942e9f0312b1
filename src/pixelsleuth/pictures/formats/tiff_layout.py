"""How the samples of a TIFF lie in the file, and what reads that layout: Pillow, `tiff_samples`, or nothing.

Pillow reads some rare layouts wrongly, without an error (separate planes of 16 bits, min-is-white of 16 bits,
big-endian floats in compressed strips ...). So a layout goes to Pillow only where it is on the list here.

Source: TIFF 6.0; TIFF Technical Notes; libtiff's list of compressions.
"""

from __future__ import annotations

from dataclasses import dataclass

from pixelsleuth.errors import UnsupportedFormat
from pixelsleuth.pictures.exif import Directory
from pixelsleuth.pictures.formats.base import corrupt, truncated

WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOURS = {WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
RAW = 1
# What libtiff unpacks to plain bytes (LZW, deflate twice, PackBits, LZMA, Zstandard), and what it turns into pixels.
BYTE_CODECS = frozenset({RAW, 5, 8, 32773, 32946, 34925, 50000})
_PIXEL_CODECS = frozenset({2, 3, 4, 6, 7})
_CODECS = {
    9: "JBIG", 10: "JBIG", 22610: "JPEG XR", 32766: "NeXT", 32771: "CCITT RLE", 32809: "ThunderScan",
    33003: "JPEG 2000", 33004: "JPEG 2000", 33005: "JPEG 2000", 34661: "JBIG", 34676: "SGI LogLuv",
    34677: "SGI LogLuv", 34712: "JPEG 2000", 34713: "Nikon NEF", 34887: "LERC", 34892: "lossy DNG JPEG",
    34933: "PNG", 34934: "JPEG XR", 50001: "WebP", 50002: "JPEG XL", 52546: "JPEG XL", 65000: "Kodak DCR",
}  # fmt: skip
_PHOTOMETRICS = {4: "a transparency mask", 9: "ICC Lab", 10: "ITU Lab", 32803: "camera raw data",
                 32844: "LogL", 32845: "LogLuv", 34892: "linear raw data", 51177: "a depth map"}  # fmt: skip
EXTRA_IGNORED = "An extra channel, of which the file does not say that it is transparency, was left out."
MAX_PIECES = 200_000


@dataclass(frozen=True)
class Layout:
    """What the first directory says of its samples.

    `colours` of the `samples` of a pixel are colour (1 grey or palette, 3, 4); `alpha` is where transparency
    stands among them, or None. `across` x `down` is the size of a tile or strip.
    """

    width: int
    height: int
    photometric: int
    bits: int
    samples: int
    sample_format: int
    planar: bool
    compression: int
    extra: tuple[int, ...]
    fill: int
    predictor: int
    tiled: bool
    across: int
    down: int
    big_endian: bool
    subsampled: bool
    small_palette: bool
    big: bool

    @property
    def colours(self) -> int:
        return COLOURS[self.photometric]

    @property
    def alpha(self) -> int | None:
        """The first extra sample that is called transparency, 1 (colours multiplied with it) or 2 (not)."""
        if not self.extra:  # three colours and a fourth sample without a name: all readers take it so
            return 3 if (self.photometric, self.samples) == (RGB, 4) else None
        if self.photometric == RGB and self.extra[0] > 2:  # Corel Draw writes 999
            return 3
        return next((self.colours + i for i, kind in enumerate(self.extra) if kind in (1, 2)), None)

    @property
    def multiplied(self) -> bool:
        alpha = self.alpha
        return alpha is not None and bool(self.extra) and self.extra[alpha - self.colours] == 1

    @property
    def ignored(self) -> bool:
        """True where a sample is neither colour nor transparency."""
        return self.samples - self.colours - (self.alpha is not None) > 0

    @property
    def row_bytes(self) -> int:
        """Bytes of a row of one piece, which holds all samples or, with separate planes, one."""
        return (self.across * self.bits * (1 if self.planar else self.samples) + 7) // 8

    @property
    def pieces_across(self) -> int:
        return -(-self.width // self.across)

    @property
    def pieces_down(self) -> int:
        return -(-self.height // self.down)

    @property
    def pieces(self) -> int:
        """Strips or tiles that the whole picture takes."""
        return self.pieces_across * self.pieces_down * (self.samples if self.planar else 1)

    def rows(self, piece: int) -> int:
        """Rows of a piece: the last strip of a plane is shorter, a tile never is."""
        if self.tiled:
            return self.down
        return min(self.down, self.height - piece % self.pieces_down * self.down)


def layout_of(directory: Directory, name: str) -> Layout:
    """The layout of a TIFF's first page. Raises UnsupportedFormat (by name) or CorruptPicture."""
    number = directory.number
    compression = number(259, 1)
    photometric = number(262, WHITE_IS_ZERO)
    if compression not in BYTE_CODECS | _PIXEL_CODECS:
        codec = _CODECS.get(compression, f"of the unknown kind {compression}")
        raise unsupported(name, f"its compression ({codec})")
    if compression == 6:
        photometric = YCBCR  # the old kind of JPEG, whatever else it says
    if photometric not in COLOURS:
        raise unsupported(name, _PHOTOMETRICS.get(photometric, f"the unknown kind of colour {photometric}"))
    samples = number(277, COLOURS[photometric] if compression == 6 else 1)
    bits = directory.numbers(258) or (1,)
    kinds = directory.numbers(339) or (UNSIGNED,)
    if samples > 6:
        raise UnsupportedFormat(f"{name} has more channels than a picture for the eye; export three as PNG.")
    if samples < COLOURS[photometric]:
        raise corrupt(name, "its header names fewer channels than its colours need")
    if len(set(bits[:samples])) > 1 or len(set(kinds[:samples])) > 1:
        raise unsupported(name, "channels of different depths")
    tiled = 322 in directory.fields
    width, height = number(256), number(257)
    across, down = (
        (number(322), number(323)) if tiled else (width, min(number(278, height) or height, height))
    )
    if across <= 0 or down <= 0 or bits[0] <= 0:
        raise corrupt(name, "its header names impossible strips or tiles")
    palette = directory.numbers(320, 768) if photometric == PALETTE else ()
    return Layout(
        width=width,
        height=height,
        photometric=photometric,
        bits=bits[0],
        samples=samples,
        sample_format=UNSIGNED if kinds[0] == 4 else kinds[0],  # 4: undefined
        planar=number(284, 1) == 2 and samples > 1,
        compression=compression,
        extra=directory.numbers(338)[: samples - COLOURS[photometric]],
        fill=number(266, 1),
        predictor=number(317, 1),
        tiled=tiled,
        across=across,
        down=down,
        big_endian=directory.order == ">",
        subsampled=photometric == YCBCR and (directory.numbers(530) or (2, 2)) != (1, 1),
        small_palette=bool(palette) and max(palette) < 256,
        big=directory.big,
    )


def unsupported(name: str, what: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"{name} is a TIFF of a kind that is not read: {what}; save it as a usual PNG.")


def check_pieces(layout: Layout, directory: Directory, name: str) -> None:
    """Refuse a file whose strips or tiles do not fill the picture: a decoder would leave the rest black."""
    offsets_tag, sizes_tag = (324, 325) if layout.tiled else (273, 279)
    if offsets_tag not in directory.fields and layout.compression == 6:
        return  # the old kind of JPEG may be one stream elsewhere
    if layout.pieces > MAX_PIECES:
        raise corrupt(name, "it is cut into hundreds of thousands of pieces")
    offsets = directory.numbers(offsets_tag, layout.pieces)
    if len(offsets) < layout.pieces:
        raise truncated(name)
    if layout.compression != RAW or layout.photometric == YCBCR:
        return  # libtiff itself checks what it unpacks
    sizes = directory.numbers(sizes_tag, layout.pieces)
    for piece, offset in enumerate(offsets):
        needed = layout.row_bytes * layout.rows(piece)
        if offset + needed > len(directory.data) or (piece < len(sizes) and 0 < sizes[piece] < needed):
            raise truncated(name)


def reader_of(layout: Layout, name: str) -> str:
    """What reads this layout: "pillow", "libtiff" (Pillow made to use libtiff) or "samples" (`tiff_samples`).

    Raises UnsupportedFormat for a layout that nothing reads.
    """
    unknown_to_pillow = layout.big and layout.big_endian
    if unknown_to_pillow and (layout.photometric in (YCBCR, LAB) or layout.compression in _PIXEL_CODECS):
        raise unsupported(name, "BigTIFF in big-endian order with coded colours")
    if layout.photometric == YCBCR:
        if (layout.bits, layout.samples, layout.sample_format) not in ((8, 3, UNSIGNED), (8, 1, UNSIGNED)):
            raise unsupported(name, f"YCbCr of {layout.bits} bits and {layout.samples} channels")
        if layout.fill != 1 or (layout.planar and layout.subsampled):
            raise unsupported(name, "YCbCr in an unusual order")
        return "libtiff" if layout.compression == RAW else "pillow"
    if layout.compression in _PIXEL_CODECS:
        return "pillow"
    if layout.photometric == LAB:
        if (layout.bits, layout.samples, layout.planar, layout.fill) != (8, 3, False, 1):
            raise unsupported(name, "CIE Lab of another depth or order than usual")
        return "pillow"
    if _is_pillows(layout) and not unknown_to_pillow:
        return "pillow"
    whole = layout.sample_format in (UNSIGNED, SIGNED) and layout.bits <= 64
    signed = layout.sample_format == SIGNED and layout.bits not in (8, 16, 32, 64)
    real = layout.sample_format == FLOAT and layout.bits in (16, 32, 64)
    if not (whole or real) or signed or (layout.bits > 32 and layout.bits != 64):
        raise unsupported(name, f"samples of {layout.bits} bits in the format {layout.sample_format}")
    if layout.predictor not in ((1, 2, 3) if real else (1, 2)) or (
        layout.predictor == 2 and layout.bits not in (8, 16, 32, 64)
    ):
        raise unsupported(name, f"the predictor {layout.predictor} with {layout.bits} bits")
    if layout.photometric == CMYK and layout.alpha is not None:
        raise unsupported(name, "CMYK with transparency")
    if layout.photometric == PALETTE and (layout.bits > 16 or layout.sample_format != UNSIGNED):
        raise unsupported(name, f"a palette of {layout.bits} bits")
    return "samples"


def _is_pillows(layout: Layout) -> bool:
    if layout.fill != 1 or layout.sample_format != UNSIGNED or layout.ignored or layout.small_palette:
        return False
    kind = (layout.photometric, layout.samples)
    if layout.bits <= 8 and kind in ((0, 1), (1, 1), (3, 1)):
        return layout.bits in (1, 2, 4, 8)
    if layout.bits == 8:
        return kind in ((RGB, 3), (CMYK, 4)) or (kind == (RGB, 4) and not layout.planar)
    return layout.bits == 16 and not layout.planar and kind in ((1, 1), (RGB, 3), (RGB, 4), (CMYK, 4))
