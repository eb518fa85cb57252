#!/bin/sh
# Made full.jpg: a 24x16 JPEG with every kind of metadata, written by ExifTool, which shares no code with us.
# Needs ExifTool (Debian: libimage-exiftool-perl) and a Python with Pillow and NumPy.
set -e
python - <<'PYTHON'
import numpy as np
from PIL import Image, ImageCms

y, x = np.mgrid[:16, :24]
image = Image.fromarray(np.stack([x * 10, y * 15, (x + y) * 6], -1).astype(np.uint8))
icc = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
image.resize((12, 8)).save("thumb.jpg", quality=50)
image.save("full.jpg", quality=95, subsampling=0, icc_profile=icc, dpi=(300, 300))
PYTHON
exiftool -q -overwrite_original \
  -Make="Acme" -Model="Acme One" -Software="Camera 1.0" -Artist="A. Photographer" -Copyright="CC0" \
  -Orientation#=1 -XResolution=300 -YResolution=300 "-ThumbnailImage<=thumb.jpg" \
  -DateTimeOriginal="2024:05:06 07:08:09" -ExposureTime=1/30 -FNumber=2.8 -ISO=400 -LensModel="Acme 50mm" \
  -UserComment="a user comment" -ExifImageWidth=24 -ExifImageHeight=16 -InteropIndex=R98 \
  -GPSLatitude=52.5 -GPSLatitudeRef=N -GPSLongitude=13.4 -GPSLongitudeRef=E -GPSAltitude=34 \
  -XMP-dc:Title="A title" -XMP-dc:Subject=blur -XMP-tiff:Orientation#=1 -XMP-xmp:Rating=4 \
  -XMP-xmp:ThumbnailFormat=JPEG -XMP-xmp:ThumbnailWidth=12 "-XMP-xmp:ThumbnailImage<=thumb.jpg" \
  -IPTC:Keywords=blur -IPTC:By-line="A. Photographer" -IPTC:Caption-Abstract="A caption" \
  -Comment="a comment" full.jpg
rm thumb.jpg
