"""Made the *.jxl here, with cjxl (Debian: libjxl-tools) and ImageMagick's convert: files whose colours libjxl tells in its different ways.

python make_jxl.py
"""

import subprocess
from pathlib import Path

import numpy as np

from deblur_cli.photo import Encoding, Metadata, Photo, write_photo
from deblur_cli.photo._cicp import powers, profile

y, x = np.mgrid[:40, :56]
PIXELS = np.stack([100 + x, 120 + y, 80 + x], -1).astype(np.uint8)
ODD = profile("odd", (0.31, 0.33), (0.65, 0.33, 0.3, 0.6, 0.15, 0.06), powers(1.7) * 0.6 + powers(4) * 0.4)
"""A profile that no numbers tell."""
ADOBE = Path("/usr/share/color/icc/ghostscript/a98.icc")
"""Compatible with Adobe RGB (1998), of Debian's libgs-common: libjxl tells it by numbers of its own."""

if __name__ == "__main__":
    picture = Path("picture.png")
    write_photo(Photo(PIXELS, None, Encoding("PNG")), picture)
    gray = Path("gray.png")
    write_photo(Photo(PIXELS[..., :1], None, Encoding("PNG")), gray)
    odd = Path("odd.png")
    write_photo(Photo(PIXELS, None, Encoding("PNG"), Metadata(icc=ODD)), odd)
    moving = Path("moving.gif")
    subprocess.run(["convert", "-delay", "20", picture, gray, moving], check=True)
    for name, source, *options in (
        ("p3", picture, "-d", "0.5", "-x", "color_space=RGB_D65_DCI_Rel_SRG"),
        ("pq", picture, "-d", "0", "-x", "color_space=RGB_D65_202_Rel_PeQ"),
        ("adobe", picture, "-d", "0.5", "-x", f"icc_pathname={ADOBE}"),
        ("gray", gray, "-d", "0", "-x", "color_space=Gra_D65_Rel_g0.5"),
        ("dci", picture, "-d", "0", "-x", "color_space=RGB_DCI_DCI_Rel_DCI"),
        ("odd", odd, "-d", "0.5"),
        ("moving_p3", moving, "-d", "0", "-x", "color_space=RGB_D65_DCI_Rel_SRG"),
    ):
        subprocess.run(["cjxl", source, f"{name}.jxl", *options], check=True)
    for path in (picture, gray, odd, moving):
        path.unlink()
