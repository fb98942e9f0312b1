"""Colour profiles: those that a file brings, applied, and colour spaces that it names by numbers, as ICC profiles.

PNG (cICP), AVIF and HEIC (nclx) use such numbers. Source: ITU-T H.273, tables 2 and 3; ICC.1:2022, sections 7.2, 9,
10.18.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

Pixels = NDArray[np.uint8]

SRGB_LIKE = frozenset({1, 2, 6, 13, 14, 15})
"""Transfer functions taken as sRGB: its own, and those of cameras and television, whose displays have its curve."""
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_D65, _C, _DCI = (0.3127, 0.3290), (0.310, 0.316), (0.314, 0.351)
_BT601 = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.670, 0.330), (0.210, 0.710), (0.140, 0.080), _C),
    5: ((0.640, 0.330), (0.290, 0.600), (0.150, 0.060), _D65),
    6: _BT601,
    7: _BT601,
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_NAMES = {1: "BT.709", 4: "BT.470 M", 5: "BT.470 BG", 6: "BT.601", 7: "SMPTE 240M", 8: "film", 9: "BT.2020",
          11: "DCI-P3", 12: "Display P3", 22: "EBU 3213"}  # fmt: skip
_HDR = {16: "PQ", 18: "HLG"}
_D50 = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def profile_of(primaries: int, transfer: int, *, grey: bool = False) -> tuple[bytes | None, str | None]:
    """Return (ICC profile, None), (None, None) for what is sRGB already, or (None, warning) for what is unknown.

    >>> profile_of(1, 13)
    (None, None)
    >>> profile_of(9, 16)[1]
    'The colours are coded for high dynamic range (PQ) and were taken as sRGB.'
    """
    if transfer in _HDR:
        return (
            None,
            f"The colours are coded for high dynamic range ({_HDR[transfer]}) and were taken as sRGB.",
        )
    if primaries == 2 or grey:
        primaries = 1  # unspecified, or without a meaning
    if primaries not in _PRIMARIES or (transfer not in SRGB_LIKE and transfer not in _GAMMAS):
        return (
            None,
            f"The colour space (code {primaries}, {transfer}) is not known and was taken as sRGB.",
        )
    if primaries == 1 and transfer in SRGB_LIKE:
        return None, None
    curve = _curve(_GAMMAS.get(transfer))
    white = _tag_xyz(_D50)
    name = _NAMES[primaries] + (f", gamma {_GAMMAS[transfer]:g}" if transfer in _GAMMAS else "")
    tags = {b"desc": _text(name), b"cprt": _text("none"), b"wtpt": white}
    if grey:
        return _profile(b"GRAY", tags | {b"kTRC": curve}), None
    matrix = _to_d50(_PRIMARIES[primaries])
    tags |= {tag: _tag_xyz(matrix[:, i]) for i, tag in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
    return _profile(b"RGB ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)), None


def _to_d50(corners: tuple[tuple[float, float], ...]) -> NDArray[np.float64]:
    """The matrix (3, 3) from linear RGB to XYZ, seen under D50 (Bradford)."""
    xyz = np.array([(x / y, 1.0, (1 - x - y) / y) for x, y in corners]).T
    white = xyz[:, 3]
    matrix = xyz[:, :3] * np.linalg.solve(xyz[:, :3], white)
    scale = np.diag((_BRADFORD @ _D50) / (_BRADFORD @ white))
    adapted: NDArray[np.float64] = np.linalg.inv(_BRADFORD) @ scale @ _BRADFORD @ matrix
    return adapted


def _fixed(value: float) -> bytes:
    return struct.pack(">i", round(float(value) * 65536))


def _tag_xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + b"".join(_fixed(value) for value in values)


def _curve(gamma: float | None) -> bytes:
    """A parametric curve: a power, or that of sRGB (IEC 61966-2-1) where `gamma` is None."""
    if gamma is not None:
        return b"para\0\0\0\0\0\0\0\0" + _fixed(gamma)
    return b"para\0\0\0\0\0\3\0\0" + b"".join(
        map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045))
    )


def _text(text: str) -> bytes:
    coded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II4sII", 1, 12, b"enUS", len(coded), 28) + coded


def _profile(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for tag, value in tags.items():
        table += tag + struct.pack(">II", offset + len(body), len(value))
        body += value + bytes(-len(value) % 4)
    head = struct.pack(
        ">I4sI4s4s4s12s4s", offset + len(body), b"", 0x04300000, b"mntr", space, b"XYZ ", b"", b"acsp"
    )
    head = head.ljust(68, b"\0") + b"".join(_fixed(value) for value in _D50)
    return head.ljust(128, b"\0") + table + body


_SPACES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}
_NATIVE = {
    "RGBA": "RGB",
    "RGBX": "RGB",
    "RGBa": "RGB",
    "P": "RGB",
    "PA": "RGB",
    "LA": "L",
    "La": "L",
    "1": "L",
}


def transform_of(mode: str, icc: bytes | None, warnings: list[str]) -> tuple[Any, str | None]:
    """Return (transform to sRGB or None, description of the profile or None).

    A profile that is sRGB by another name, or moves no colour by more than two steps, is not applied: pixels
    that need no change stay as the camera or the forger left them.
    """
    if not icc:
        return None, None
    try:
        from PIL import ImageCms

        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        name = (ImageCms.getProfileDescription(profile) or "").strip() or "unnamed"
        space = _SPACES.get(profile.profile.xcolor_space.strip(), "")
        native = "L" if mode.startswith("I;16") else _NATIVE.get(mode, mode)
        if space != native:
            warnings.append("The colour profile is for another kind of picture and was ignored.")
            return None, name
        transform = ImageCms.buildTransform(
            profile,
            ImageCms.createProfile("sRGB"),
            space,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        probe = _probe(space)
        if probe is not None:
            moved = np.asarray(ImageCms.applyTransform(probe, transform)).astype(int)
            if np.abs(moved - np.asarray(probe.convert("RGB"))).max() <= 2:
                return None, name
        return transform, name
    except Exception:  # lcms refuses broken profiles in several ways; the picture itself is fine
        warnings.append("The colour profile is broken and was ignored.")
        return None, None


def _probe(mode: str) -> Image.Image | None:
    from PIL import Image

    steps = np.linspace(0, 255, 16).astype(np.uint8)
    if mode == "L":
        return Image.fromarray(steps[None])
    if mode != "RGB":
        return None
    cube = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    return Image.fromarray(cube.reshape(64, 64, 3))


def plain(image: Image.Image, to_srgb: Any) -> Pixels:
    if to_srgb is not None and image.mode == to_srgb.input_mode:
        from PIL import ImageCms

        return np.asarray(ImageCms.applyTransform(image, to_srgb))
    if image.mode == "LAB":
        return np.asarray(_lab(image))
    pixels = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return pixels if to_srgb is None else via(pixels, to_srgb)


def via(rgb: Pixels, to_srgb: Any) -> Pixels:
    """Apply a profile to pixels that were unpacked to RGB first (palettes, 16-bit grey)."""
    from PIL import Image, ImageCms

    image = Image.fromarray(rgb)
    if to_srgb.input_mode == "L":
        image = image.getchannel(0)
    elif to_srgb.input_mode != "RGB":
        return rgb
    return np.asarray(ImageCms.applyTransform(image, to_srgb))


def _lab(image: Image.Image) -> Image.Image:
    from PIL import ImageCms

    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted
