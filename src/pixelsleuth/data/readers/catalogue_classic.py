"""Classic sets of splices, copy-moves and removals: what is known of each."""

from __future__ import annotations

from pixelsleuth.data.readers.source import ReaderSpec, Setting

TWO = "real, tampered"
RESEARCH = "research use"

CLASSIC = (
    ReaderSpec(
        name="casia_v1",
        title="CASIA v1",
        reader="casia:read",
        licence=RESEARCH,
        size="800 authentic, 921 tampered (920 masks)",
        classes=TWO,
        get="the set from CASIA or a mirror; masks from namtpham/casia1groundtruth, put beside it",
        folders=(
            *((pattern,) for pattern in ("Sp_[DS]_*", "*/Sp_[DS]_*", "*/*/Sp_[DS]_*", "*/*/*/Sp_[DS]_*")),
            *((f"{'*/' * depth}Au_???_????.*",) for depth in range(3)),
        ),
        expects={"": 1_721},
        masked=True,
    ),
    ReaderSpec(
        name="casia_v2",
        title="CASIA v2",
        reader="casia:read",
        licence=RESEARCH,
        size="7,491 authentic, 5,123 tampered",
        classes=TWO,
        get="the set from CASIA or a mirror; masks from namtpham/casia2groundtruth, put beside it",
        folders=(
            *((f"{'*/' * depth}Tp_[DS]_*",) for depth in range(3)),
            *((f"{'*/' * depth}Au_???_?????.*",) for depth in range(3)),
        ),
        expects={"": 12_614},
        masked=True,
    ),
    ReaderSpec(
        name="columbia",
        title="Columbia uncompressed splices",
        reader="columbia:read",
        licence=RESEARCH,
        size="183 authentic, 180 spliced",
        classes=TWO,
        get="Columbia University, DVMM",
        folders=(("4cam_splc",), ("4cam_auth",)),
        settings={
            "inserted": Setting(
                "green", "the hue of the inserted camera; nobody states which, check by eye", ("green", "red")
            ),
        },
        expects={"": 363},
        masked=True,
    ),
    ReaderSpec(
        name="coverage",
        title="COVERAGE",
        reader="coverage:read",
        licence="non-commercial",
        size="100 originals, 100 copy-moves, from memory",
        classes=TWO,
        get="wenbihan/coverage",
        folders=(("image/*t.tif", "mask/*forged.tif"), ("image", "mask", "image/*t.tif")),
        expects={"": 200},
        masked=True,
    ),
    ReaderSpec(
        name="nist16",
        title="NIST16 (NC2016)",
        reader="nist16:read",
        licence="registration with NIST",
        size="564 fakes",
        classes=TWO,
        get="NIST, Nimble Challenge 2016",
        folders=(("probe", "reference"),),
        settings={
            "reference": Setting(
                "manipulation",
                "whose masks are read; where it has none for a picture, the first of the others",
                ("manipulation", "splice", "removal"),
            ),
        },
        masked=True,
    ),
    ReaderSpec(
        name="imd2020",
        title="IMD2020, real-life part",
        reader="imd2020:read",
        licence=RESEARCH,
        size="414 reals, 2,010 fakes",
        classes=TWO,
        get="UTIA, Prague",
        folders=(("*/*_orig.*",), ("*/*_mask.png",)),
        expects={"": 2_424},
        masked=True,
    ),
    ReaderSpec(
        name="dso1",
        title="DSO-1",
        reader="dso1:read",
        licence=RESEARCH,
        size="100 normal, 100 splices, from memory",
        classes=TWO,
        get="RECOD, Campinas: tifs-database.zip",
        folders=(("DSO-1", "DSO-1-Fake-Images-Masks"), ("splicing-*", "normal-*")),
        settings={
            "pictures": Setting("DSO-1", "folder of the pictures; layout as third parties describe it"),
            "masks": Setting("DSO-1-Fake-Images-Masks", "folder of the masks"),
        },
        expects={"": 200},
        masked=True,
    ),
)
