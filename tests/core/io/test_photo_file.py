"""Image files of every kind: what is read, what is refused and in which words."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from instax3d.errors import PhotoError
from instax3d.io import photo_file
from instax3d.io.photo_file import read_photo_file

COLORS = np.zeros((40, 60, 3), np.uint8)
COLORS[:20, :30], COLORS[:20, 30:] = (200, 40, 40), (40, 200, 40)
COLORS[20:, :30], COLORS[20:, 30:] = (40, 40, 200), (220, 220, 60)
"""Red, green, blue and yellow quarters."""


def save(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo_file(path)
    return str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tiff", "webp", "ppm", "tga", "jpg", "gif", "avif", "jp2"])
def test_common_formats_are_read(tmp_path: Path, suffix: str):
    options = {"lossless": True} if suffix == "webp" else {}
    file = read_photo_file(save(tmp_path / f"a.{suffix}", Image.fromarray(COLORS), **options))
    tolerance = 30 if suffix in ("jpg", "avif", "jp2") else 0
    inner = np.s_[5:15, 5:25]
    assert np.abs(file.rgb[inner].astype(int) - COLORS[inner]).max() <= tolerance
    assert file.rgb.shape == COLORS.shape
    assert file.alpha is None
    assert file.notes == ()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_made_upright(tmp_path: Path, orientation: int):
    upright = Image.fromarray(COLORS)
    inverse = {
        1: None, 2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_270,
    }[orientation]  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if inverse is None else upright.transpose(inverse)
    file = read_photo_file(save(tmp_path / "a.png", stored, exif=exif))
    assert np.array_equal(file.rgb, COLORS)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "I;16", "I", "F"])
def test_gray_images_keep_their_levels_and_say_so(tmp_path: Path, mode: str):
    ramp = np.tile(np.linspace(0, 255, 64).astype(np.uint8), (32, 1))
    if mode == "I;16":
        image = Image.fromarray(ramp.astype(np.uint16) * 257)
    elif mode in ("I", "F"):
        image = Image.fromarray(ramp.astype(np.int32 if mode == "I" else np.float32) * 1000)
    else:
        image = Image.fromarray(ramp).convert(mode)
    file = read_photo_file(save(tmp_path / "a.tiff", image))
    assert file.rgb.shape == (32, 64, 3)
    assert (file.rgb[..., 0] == file.rgb[..., 2]).all()
    if mode != "1":
        assert np.abs(file.rgb[..., 0].astype(int) - ramp).max() <= 1
    assert file.notes == ("The photo is black and white, and so will the portrait be.",)


def test_palettes_with_and_without_transparency(tmp_path: Path):
    palette = Image.fromarray(COLORS).quantize(8)
    file = read_photo_file(save(tmp_path / "a.png", palette))
    assert np.array_equal(file.rgb, COLORS)
    assert file.alpha is None
    clear = int(np.array(palette)[0, 0])
    file = read_photo_file(save(tmp_path / "b.png", palette, transparency=clear))
    assert file.alpha is not None
    assert (file.alpha[:20, :30] == 0).all()
    assert (file.alpha[20:] == 255).all()


def test_an_opaque_alpha_channel_is_none(tmp_path: Path):
    image = Image.fromarray(COLORS).convert("RGBA")
    assert read_photo_file(save(tmp_path / "a.png", image)).alpha is None
    image.putalpha(128)
    alpha = read_photo_file(save(tmp_path / "b.png", image)).alpha
    assert alpha is not None
    assert (alpha == 128).all()


def test_cmyk_becomes_rgb_with_a_word_about_its_colors(tmp_path: Path):
    image = Image.fromarray(COLORS).convert("CMYK")
    file = read_photo_file(save(tmp_path / "a.tiff", image))
    assert np.abs(file.rgb.astype(int) - COLORS).max() <= 2
    assert "CMYK" in file.notes[0]
    jpeg = read_photo_file(save(tmp_path / "a.jpg", image, quality=95))
    assert np.abs(jpeg.rgb[5:15, 5:25].astype(int) - COLORS[5:15, 5:25]).max() <= 12


def test_an_embedded_profile_is_followed_and_alpha_is_kept(tmp_path: Path):
    # XYZ as "color profile": sRGB's mid gray has another value there, so following it must change the pixels.
    linear = linear_rgb_profile()
    gray = Image.new("RGBA", (40, 40), (55, 55, 55, 77))
    file = read_photo_file(save(tmp_path / "a.png", gray, icc_profile=linear))
    # Linear 55/255 is 0.5 in sRGB.
    assert np.abs(file.rgb.astype(int) - 128).max() <= 3
    assert file.alpha is not None
    assert (file.alpha == 77).all()


def linear_rgb_profile() -> bytes:
    """An sRGB profile whose tone curves are replaced by straight ones."""
    raw = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    count = struct.unpack(">I", raw[128:132])[0]
    for index in range(count):
        tag, offset, _ = struct.unpack(">4sII", raw[132 + 12 * index : 144 + 12 * index])
        if tag in (b"rTRC", b"gTRC", b"bTRC"):
            raw[offset : offset + 12] = b"curv" + bytes(8)  # no entries: the identity
            raw[132 + 12 * index : 144 + 12 * index] = struct.pack(">4sII", tag, offset, 12)
    return bytes(raw)


def test_a_broken_profile_does_no_harm(tmp_path: Path):
    file = read_photo_file(save(tmp_path / "a.png", Image.fromarray(COLORS), icc_profile=b"not a profile"))
    assert np.array_equal(file.rgb, COLORS)


def test_an_animation_gives_its_first_frame_and_says_so(tmp_path: Path):
    first, second = Image.fromarray(COLORS), Image.new("RGB", (60, 40))
    file = read_photo_file(save(tmp_path / "a.gif", first, save_all=True, append_images=[second]))
    assert np.array_equal(file.rgb, COLORS)
    assert "first one" in file.notes[0]


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_huge_photo_is_reduced_and_says_so(tmp_path: Path, suffix: str):
    big = Image.fromarray(COLORS).resize((6000, 4000), Image.Resampling.NEAREST)
    file = read_photo_file(save(tmp_path / f"a.{suffix}", big))
    assert file.rgb.shape == (1365, 2048, 3)
    assert np.abs(file.rgb[600, 900].astype(int) - COLORS[0, 0]).max() <= 5
    assert np.abs(file.rgb[800, 1100].astype(int) - COLORS[39, 59]).max() <= 5
    assert file.notes == ("The photo has 6000x4000 pixels; it was reduced to 2048x1365.",)


# Focal length


def exif_of(**details: object) -> Image.Exif:
    tags = {"f": 0x920A, "f35": 0xA405, "plane": 0xA20E, "unit": 0xA210, "width": 0xA002, "height": 0xA003}
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({tags[name]: value for name, value in details.items()})
    return exif


def test_the_35_mm_equivalent_gives_the_focal_length_of_the_delivered_image(tmp_path: Path):
    image = Image.new("RGB", (3000, 2000), "gray")
    exif = exif_of(f35=50)
    exif[0x0112] = 6
    file = read_photo_file(save(tmp_path / "a.jpg", image, exif=exif))
    assert file.rgb.shape[:2] == (2048, 1365)
    # On 36 mm film 50 mm are 50/36 of the long side.
    assert file.focal == pytest.approx(2048 * 50 / 36, rel=1e-3)


def test_the_focal_planes_resolution_serves_where_the_equivalent_is_missing(tmp_path: Path):
    image = Image.new("RGB", (1500, 1000), "gray")
    # A sensor of 6000 pixels on 36 mm; the file was made a quarter as large.
    exif = exif_of(f=85.0, plane=6000 / 3.6, unit=3, width=6000, height=4000)
    focal = read_photo_file(save(tmp_path / "a.jpg", image, exif=exif)).focal
    assert focal == pytest.approx(1500 * 85 / 36, rel=1e-3)


def test_no_focal_length_is_made_up(tmp_path: Path):
    cases = {
        "square": (Image.new("RGB", (800, 800)), exif_of(f35=50)),
        "zero": (Image.new("RGB", (600, 400)), exif_of(f35=0, f=0.0)),
        "silent": (Image.new("RGB", (600, 400)), Image.Exif()),
        "cropped": (Image.new("RGB", (1920, 1080)), exif_of(f35=50, width=4000, height=3000)),
        "absurd": (Image.new("RGB", (600, 400)), exif_of(f35=65000)),
    }
    for name, (image, exif) in cases.items():
        assert read_photo_file(save(tmp_path / f"{name}.jpg", image, exif=exif)).focal is None


def test_damaged_metadata_does_not_stop_the_photo(tmp_path: Path):
    exif = b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\xff\xff" + bytes(range(200))
    file = read_photo_file(save(tmp_path / "a.jpg", Image.fromarray(COLORS), exif=exif))
    assert file.rgb.shape == (40, 60, 3)


# Refusals


def test_a_missing_file_suggests_near_names(tmp_path: Path):
    for name in ("portrait.jpg", "portrait2.jpg", "holiday.png"):
        (tmp_path / name).touch()
    message = refusal(tmp_path / "Portrat.JPG")
    assert "portrait.jpg" in message
    assert "holiday" not in message
    assert "check the name" in refusal(tmp_path / "zzz.webp")
    assert "no folder" in refusal(tmp_path / "nowhere" / "a.jpg")


def test_folders_and_empty_files_are_named_so(tmp_path: Path):
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "a.jpg").touch()
    assert "is empty" in refusal(tmp_path / "a.jpg")


def test_what_is_no_image_says_which_formats_are(tmp_path: Path):
    (tmp_path / "a.jpg").write_text("<html>not found</html>")
    assert "JPEG, PNG" in refusal(tmp_path / "a.jpg")
    # Pillow would start Ghostscript for this one.
    (tmp_path / "a.eps").write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    assert "JPEG, PNG" in refusal(tmp_path / "a.eps")
    save(tmp_path / "a.dng", Image.fromarray(COLORS), format="TIFF")
    assert "camera raw" in refusal(tmp_path / "a.dng")


@pytest.mark.parametrize("suffix", ["jpg", "png", "tiff"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    path = save(tmp_path / f"a.{suffix}", Image.fromarray(noise))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "truncated" in refusal(path) or "damaged" in refusal(path)


def test_a_heic_photo_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(photo_file, "find_spec", lambda name: None)
    (tmp_path / "a.heic").write_bytes(struct.pack(">I", 24) + b"ftypheic" + bytes(40))
    assert "pip install 'instax3d[heic]'" in refusal(tmp_path / "a.heic")


def test_a_decompression_bomb_is_not_unpacked(tmp_path: Path):
    out = io.BytesIO()
    Image.new("1", (8, 8)).save(out, "PNG")
    data = bytearray(out.getvalue())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(bytes(data))
    assert "megapixels" in refusal(tmp_path / "a.png")


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damage_anywhere_is_a_photo_error_or_an_image(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject):
    suffix = data.draw(st.sampled_from(["jpg", "png", "gif", "webp", "tiff", "bmp"]))
    out = io.BytesIO()
    exif = exif_of(f35=50) if suffix in ("jpg", "png", "webp", "tiff") else None
    Image.fromarray(COLORS).save(out, {"jpg": "JPEG"}.get(suffix, suffix.upper()), **({"exif": exif} if exif else {}))
    damaged = bytearray(out.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / f"a.{suffix}"
    path.write_bytes(bytes(damaged))
    try:
        file = read_photo_file(path)
    except PhotoError:
        return
    assert file.rgb.dtype == np.uint8
    assert max(file.rgb.shape[:2]) <= photo_file.MAX_SIDE
