"""What kinds draw onto images with."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont


def write_label(image: Image.Image, at: tuple[float, float], text: str, anchor: str = "lt") -> None:
    """Write `text` white on black onto an RGB image; what would stick out at `at` (x, y, in pixels) is moved inside.

    anchor: what of the text is at `at`, as Pillow names it ("lt": left and top, "lb": left and bottom, "mm": middle).
    Letters grow with the image, so that they can still be read in a picture of SIDE pixels, and shrink where the text
    is wider than it.
    """
    text = " ".join(text.split())
    if not text:
        return
    pen = ImageDraw.Draw(image)
    font = _font(max(8, round(max(image.size) / 14)))
    if (width := pen.textlength(text, font)) > image.width - 2:
        font = _font(max(8, int(font.size * image.width / width) - 1))
    left, top, right, bottom = pen.textbbox(at, text, font, anchor)
    x = max(1 - left, min(0, image.width - 2 - right))
    y = max(1 - top, min(0, image.height - 2 - bottom))
    pen.rectangle((left + x - 1, top + y - 1, right + x, bottom + y), fill="black")
    pen.text((at[0] + x, at[1] + y), text, "white", font, anchor)


@lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    # Pillow's own font has no letter beyond ASCII.
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path(), "fonts", "ttf", "DejaVuSans.ttf"), size)
