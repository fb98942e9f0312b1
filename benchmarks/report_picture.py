"""Draw the picture of a report in the README: an invented landscape, its balloon copied, the verdict as it comes.

Nobody's photograph is in it: the scene is computed. Needs Debian's chromium for the screenshot.

Run: `python benchmarks/report_picture.py docs/images/report.png`
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter


def ridge(random: np.random.Generator, width: int, height: float, roughness: float) -> np.ndarray:
    """A mountain line by summed sine octaves, in pixels from the top."""
    x = np.linspace(0, 1, width)
    octaves = [np.sin(2 * np.pi * (2**k * x + random.random())) * roughness / 1.8**k for k in range(7)]
    return height + np.sum(octaves, axis=0)


def landscape(width: int = 960, height: int = 640, seed: int = 4) -> Image.Image:
    """Sky, four ranges of hills and sensor noise."""
    random = np.random.default_rng(seed)
    rows = np.linspace(0, 1, height)[:, None, None]
    scene = (1 - rows) * np.array([104, 152, 206]) + rows * np.array([246, 214, 178])
    scene = np.broadcast_to(scene, (height, width, 3)).copy()
    texture = Image.fromarray(random.integers(0, 255, (height // 3, width // 3), dtype=np.uint8)).resize(
        (width, height)
    )
    grain = np.asarray(texture.filter(ImageFilter.GaussianBlur(1.2)), float) - 128
    for depth, colour in enumerate(((142, 158, 178), (104, 128, 142), (72, 100, 96), (46, 72, 58))):
        line = ridge(random, width, height * (0.45 + 0.12 * depth), 26 + 8 * depth)
        below = np.arange(height)[:, None] > line[None]
        scene[below] = (np.array(colour) + grain[..., None] * 0.14 * (depth + 1))[below]
    scene = np.asarray(
        Image.fromarray(scene.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.7)), float
    )
    scene = scene + random.normal(0, 4.0, scene.shape) * (0.6 + scene / 400)
    return Image.fromarray(scene.clip(0, 255).astype(np.uint8))


def balloon(size: int = 190) -> Image.Image:
    """A striped balloon on nothing, drawn large and reduced."""
    big = Image.new("RGBA", (size * 4, size * 5), (0, 0, 0, 0))
    pen = ImageDraw.Draw(big)
    for stripe in range(8):
        inset = stripe * size * 4 / 16
        colour = ((206, 62, 52), (238, 196, 84))[stripe % 2]
        pen.ellipse((inset, 0, size * 4 - inset, size * 4), fill=(*colour, 255))
    pen.polygon(
        [
            (size * 1.2, size * 3.7),
            (size * 2.8, size * 3.7),
            (size * 2.3, size * 4.4),
            (size * 1.7, size * 4.4),
        ],
        fill=(120, 52, 44, 255),
    )
    pen.rectangle((size * 1.65, size * 4.4, size * 2.35, size * 4.9), fill=(96, 66, 44, 255))
    return big.resize((size, size * 5 // 4), Image.Resampling.LANCZOS)


def with_noise(scene: Image.Image, seed: int = 5) -> Image.Image:
    """The scene with sensor noise over all of it, as a photograph of a balloon has."""
    random = np.random.default_rng(seed)
    noisy = np.asarray(scene, float) + random.normal(0, 3.0, (scene.height, scene.width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def main(target: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("chromium-browser")
    if browser is None:
        sys.exit("chromium is not installed: apt-get install chromium")
    scene, pasted = landscape(), balloon()
    scene.paste(pasted, (560, 110), pasted)
    scene = with_noise(scene)
    place = (560, 110, 560 + pasted.width, 110 + pasted.height)
    scene.paste(scene.crop(place), (150, 190), pasted)  # the same balloon again, as a forger would
    with tempfile.TemporaryDirectory() as folder:
        picture, report = Path(folder, "hills-with-balloon.jpg"), Path(folder, "report.html")
        scene.save(picture, quality=92)
        command = [sys.executable, "-m", "pixelsleuth", "check", picture.name, "--report", report.name]
        subprocess.run(command, check=True, cwd=folder)
        shot = Path(folder, "shot.png")
        flags = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1100,1000",
        ]
        subprocess.run(
            [browser, *flags, f"--screenshot={shot}", report.as_uri()], check=True, capture_output=True
        )
        image = Image.open(io.BytesIO(shot.read_bytes())).convert("RGB")
        image.quantize(192, method=Image.Quantize.MEDIANCUT).save(target, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images/report.png"))
