import struct

import numpy as np
import pytest
from PIL import ImageCms

from deblur_cli.photo import Encoding, Metadata, Photo, tone_curve_of


def photo_with(profile: bytes | None, channels: int = 3) -> Photo:
    return Photo(np.zeros((2, 2, channels), np.uint8), None, Encoding("PNG"), Metadata(icc=profile))


def profile_of(*curves: bytes, names: tuple[bytes, ...] = (b"rTRC", b"gTRC", b"bTRC")) -> bytes:
    """A profile that holds nothing but curves."""
    table, data, start = b"", b"", 132 + 12 * len(curves)
    for name, curve in zip(names, curves, strict=False):
        table += struct.pack(">4sII", name, start + len(data), len(curve))
        data += curve
    return bytes(128) + struct.pack(">I", len(curves)) + table + data


def curv(*entries: int) -> bytes:
    return struct.pack(f">4s4xI{len(entries)}H", b"curv", len(entries), *entries)


def para(number: int, *values: float) -> bytes:
    return struct.pack(f">4s4xHH{len(values)}i", b"para", number, 0, *(round(v * 65536) for v in values))


EVERY_LEVEL = np.linspace(0, 1, 65536, dtype=np.float32).reshape(1, 256, 256).repeat(3, 0)
EVERY_BYTE = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 1, 256).repeat(3, 0)
GAMMA_22 = curv(round(2.2 * 256))
COARSE_SRGB = [
    round(65535 * (x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4))
    for x in np.linspace(0, 1, 1024)
]
STEEP = [round(65535 * x**1.5) for x in np.linspace(0, 1, 512)]
PROFILES = {
    "none": None,
    "sRGB": ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    "gamma 2.2": profile_of(GAMMA_22, GAMMA_22, GAMMA_22),
    "linear": profile_of(curv(), curv(), curv()),
    "three": profile_of(GAMMA_22, curv(), para(0, 1.8)),
    "table": profile_of(*[curv(*STEEP)] * 3),
    "para 1": profile_of(*[para(1, 2.0, 0.9, 0.1)] * 3),
    "para 3": profile_of(*[para(3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)] * 3),
    "para 4": profile_of(*[para(4, 2.4, 0.9, 0.1, 0.1, 0.01, 0.0, 0.0)] * 3),
}


@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("values", [EVERY_BYTE, EVERY_LEVEL], ids=["8 bits", "16 bits"])
def test_every_level_comes_back(name: str, values: np.ndarray) -> None:
    curve = tone_curve_of(photo_with(PROFILES[name]))
    back = curve.to_encoded(curve.to_linear(values))
    assert back.dtype == np.float32
    np.testing.assert_array_equal(
        np.rint(back * (values.shape[2] * values.shape[1] - 1)),
        np.rint(values * (values.shape[2] * values.shape[1] - 1)),
    )


def test_without_a_profile_it_is_srgb() -> None:
    curve = tone_curve_of(photo_with(None))
    x = EVERY_LEVEL.astype(np.float64)
    expected = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    np.testing.assert_allclose(curve.to_linear(EVERY_LEVEL), expected, atol=1e-6)


def test_each_channel_has_its_own_curve() -> None:
    light = tone_curve_of(photo_with(PROFILES["three"])).to_linear(np.full((3, 1, 1), 0.5, np.float32))
    np.testing.assert_allclose(light.ravel(), [0.5 ** (563 / 256), 0.5, 0.5**1.8], atol=1e-4)


def test_a_coarse_table_of_srgb_is_srgb() -> None:
    curve = tone_curve_of(photo_with(profile_of(*[curv(*COARSE_SRGB)] * 3)))
    assert curve == tone_curve_of(photo_with(None))


def test_a_gray_profile() -> None:
    profile = profile_of(curv(512), names=(b"kTRC",))
    light = tone_curve_of(photo_with(profile, 1)).to_linear(np.full((1, 1, 1), 0.5, np.float32))
    assert light.item() == pytest.approx(0.25)


@pytest.mark.parametrize(
    "profile",
    [
        b"short",
        bytes(200),
        profile_of(curv(65535, 0), curv(65535, 0), curv(65535, 0)),
        profile_of(*[para(9)] * 3),
        profile_of(*[struct.pack(">4s4xI", b"mft2", 1)] * 3),
        profile_of(*[para(0, 0.0)] * 3),
        profile_of(*[curv(1, 2, 3)[:-2]] * 3),
    ],
)
def test_a_profile_without_usable_curves_counts_as_srgb(profile: bytes) -> None:
    assert tone_curve_of(photo_with(profile)) == tone_curve_of(photo_with(None))


@pytest.mark.parametrize("name", PROFILES)
def test_what_lies_beyond_white_and_black_goes_on(name: str) -> None:
    curve = tone_curve_of(photo_with(PROFILES[name]))
    values = np.linspace(-0.5, 2, 501, dtype=np.float32).reshape(1, 1, -1).repeat(3, 0)
    light = curve.to_linear(values)
    assert np.isfinite(light).all()
    assert (np.diff(light[0, 0, 120:]) > -1e-6).all()
    assert light[0, 0, -1] > 1.5
