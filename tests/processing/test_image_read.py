"""Anything that can be taken for a picture becomes RGB, and everything else a clear ImageError."""

from __future__ import annotations

import base64
import http.server
import io
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vision2seq.errors import ImageError
from vision2seq.processing.image.read import flatten, load_image, load_images

RED = (200, 30, 40)


def colours(height: int = 4, width: int = 6) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (height, width, 3), dtype=np.uint8)


def png(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG", **options)
    return file.getvalue()


def same(image: Image.Image, expected: np.ndarray) -> None:
    assert image.mode == "RGB"
    np.testing.assert_array_equal(np.asarray(image), expected)


# Sources


def test_path_string_bytes_and_file_object_give_the_same(tmp_path: Path) -> None:
    pixels = colours()
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.fromarray(pixels)))
    same(load_image(path), pixels)
    same(load_image(str(path)), pixels)
    same(load_image(path.read_bytes()), pixels)
    same(load_image(memoryview(path.read_bytes())), pixels)
    same(load_image(io.BytesIO(path.read_bytes())), pixels)
    with path.open("rb") as file:
        same(load_image(file), pixels)


def test_the_result_of_a_file_is_detached_from_it(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.fromarray(colours())))
    image = load_image(path)
    path.unlink()
    assert type(image) is Image.Image
    assert image.getpixel((0, 0)) == tuple(colours()[0, 0])


def test_rgb_image_is_returned_as_it_is() -> None:
    image = Image.fromarray(colours())
    assert load_image(image) is image


def test_data_url() -> None:
    pixels = colours()
    encoded = base64.b64encode(png(Image.fromarray(pixels))).decode()
    same(load_image(f"data:image/png;base64,{encoded}"), pixels)
    same(load_image(f"DATA:image/png;BASE64,{encoded[:40]}\n{encoded[40:]}"), pixels)


@pytest.fixture
def server() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/a.png":
                self.send_error(404)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png(Image.fromarray(colours())))

        def log_message(self, *_: object) -> None:
            pass

    httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=httpd.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_address[1]}"
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def test_url_only_when_allowed(server: str) -> None:
    with pytest.raises(ImageError, match=r"is a URL, and fetching is off.*allow_url=True"):
        load_image(f"{server}/a.png")
    same(load_image(f"{server}/a.png", allow_url=True), colours())
    with pytest.raises(ImageError, match=r"cannot be fetched: .*404"):
        load_image(f"{server}/b.png", allow_url=True)


def test_lists_and_batches_are_flattened_in_order() -> None:
    pixels = colours()
    image = Image.fromarray(pixels)
    batch = np.stack([pixels, pixels])
    images = load_images([image, [batch, (torch.from_numpy(pixels),)], iter([pixels])])
    assert len(images) == 5
    for found in images:
        same(found, pixels)
    assert len(flatten(image)) == 1
    assert len(flatten("path")) == 1
    assert len(flatten(io.BytesIO())) == 1
    assert len(flatten(torch.zeros(3, 3, 4, 4))) == 3


# Modes


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX", "LAB"])
def test_opaque_modes_keep_their_white(mode: str) -> None:
    white = Image.new("RGB", (5, 3), (255, 255, 255))
    if mode == "LAB":
        image = Image.new("LAB", (5, 3), (255, 128, 128))
    else:
        image = white.convert("RGBA").convert("RGB").convert(mode)
    found = np.asarray(load_image(image)).astype(int)
    assert found.shape == (3, 5, 3)
    assert found.min() >= 250


def test_gray_becomes_three_equal_channels() -> None:
    gray = colours()[:, :, 0]
    same(load_image(Image.fromarray(gray)), np.repeat(gray[:, :, None], 3, 2))


@pytest.mark.parametrize("mode", ["RGBA", "RGBa", "LA", "La", "PA"])
def test_transparency_is_laid_on_white(mode: str) -> None:
    image = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (0, 0, 0, 255))
    through = {"La": "LA", "PA": "P"}.get(mode)
    if through == "P":
        palette = Image.new("PA", (2, 1))
        palette.putpalette([0, 0, 0])
        palette.putpixel((0, 0), (0, 0))
        palette.putpixel((1, 0), (0, 255))
        image = palette
    elif mode != "RGBA":
        image = (image.convert(through) if through else image).convert(mode)
    same(load_image(image), np.array([[[255] * 3, [0] * 3]], np.uint8))


def test_half_transparent_ink_is_mixed_with_white() -> None:
    image = load_image(Image.new("RGBA", (1, 1), (200, 0, 100, 128)))
    assert image.getpixel((0, 0)) == pytest.approx((227, 127, 177), abs=1)


def test_palette_with_transparent_entry() -> None:
    image = Image.new("P", (2, 1), 0)
    image.putpalette([0, 0, 0, *RED] + [0] * 762)
    image.putpixel((1, 0), 1)
    expected = np.array([[[255] * 3, RED]], np.uint8)
    image.info["transparency"] = 0
    same(load_image(image), expected)
    same(load_image(png(image, transparency=0)), expected)
    gif = io.BytesIO()
    image.save(gif, "GIF", transparency=0)
    same(load_image(gif.getvalue()), expected)


def test_transparent_colour_of_rgb_and_gray_png() -> None:
    image = Image.new("RGB", (2, 1), (0, 0, 0))
    image.putpixel((1, 0), RED)
    same(load_image(png(image, transparency=(0, 0, 0))), np.array([[[255] * 3, RED]], np.uint8))
    gray = Image.new("L", (2, 1), 0)
    gray.putpixel((1, 0), 7)
    same(load_image(png(gray, transparency=0)), np.array([[[255] * 3, [7] * 3]], np.uint8))


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I"])
def test_16_bit_gray_uses_its_whole_range(mode: str) -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], np.uint16)
    stored = {"I;16B": ">u2", "I": "<i4"}.get(mode, "<u2")
    image = Image.frombytes(mode, (6, 1), values.astype(stored).tobytes())
    assert np.asarray(load_image(image))[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]


def test_16_bit_gray_png_file() -> None:
    image = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert np.asarray(load_image(png(image)))[0, :, 1].tolist() == [0, 128, 255]


def test_32_bit_gray_of_8_bit_values_is_not_darkened() -> None:
    image = Image.fromarray(np.array([[0, 100, 255]], np.int32))
    assert np.asarray(load_image(image))[0, :, 0].tolist() == [0, 100, 255]


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.5, 1.0], [0, 128, 255]), ([0.0, 99.6, 255.0], [0, 100, 255]), ([-50.0, 0.0, 50.0], [0, 128, 255])],
)
def test_float_gray(values: list[float], expected: list[int]) -> None:
    image = Image.fromarray(np.array([values], np.float32))
    assert image.mode == "F"
    assert np.asarray(load_image(image))[0, :, 2].tolist() == expected


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied_once(orientation: int, tmp_path: Path) -> None:
    pixels = colours()
    turned = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels, 3),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "a.png"
    path.write_bytes(png(Image.fromarray(pixels), exif=exif))
    once = load_image(path)
    same(once, turned)
    same(load_image(once), turned)
    with Image.open(path) as opened:
        same(load_image(load_image(opened)), turned)


def test_first_frame_of_an_animation() -> None:
    frames = [Image.new("RGB", (3, 2), colour) for colour in [(255, 0, 0), (0, 255, 0), (0, 0, 255)]]
    for kind in ("GIF", "TIFF", "PNG"):
        file = io.BytesIO()
        frames[0].save(file, kind, save_all=True, append_images=frames[1:])
        assert load_image(file.getvalue()).getpixel((0, 0)) == (255, 0, 0)


# Arrays


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_array_layouts(kind: str) -> None:
    pixels = colours(5, 7)
    gray = pixels[:, :, 0]
    three = np.repeat(gray[:, :, None], 3, 2)

    def wrap(array: np.ndarray) -> object:
        return torch.from_numpy(array.copy()) if kind == "torch" else array

    same(load_image(wrap(pixels)), pixels)
    same(load_image(wrap(pixels.transpose(2, 0, 1))), pixels)
    same(load_image(wrap(gray)), three)
    same(load_image(wrap(gray[None])), three)
    same(load_image(wrap(gray[:, :, None])), three)
    opaque = np.concatenate([pixels, np.full((5, 7, 1), 255, np.uint8)], 2)
    same(load_image(wrap(opaque)), pixels)
    same(load_image(wrap(opaque.transpose(2, 0, 1))), pixels)
    same(load_image(wrap(np.zeros((5, 7, 4), np.uint8))), np.full((5, 7, 3), 255, np.uint8))


def test_array_kinds_of_numbers() -> None:
    pixels = colours()
    same(load_image(pixels.astype(np.int64)), pixels)
    same(load_image(pixels.astype(np.float64)), pixels)
    same(load_image((pixels / 255).astype(np.float32)), pixels)
    same(load_image(pixels.astype(np.uint16) * 257), pixels)
    same(load_image(pixels > 100), np.where(pixels > 100, 255, 0).astype(np.uint8))
    same(load_image(torch.from_numpy(pixels / 255).requires_grad_()), pixels)
    same(load_image(torch.from_numpy(pixels).to(torch.bfloat16)), load_image_of_rounded(pixels))


def load_image_of_rounded(pixels: np.ndarray) -> np.ndarray:
    return torch.from_numpy(pixels).to(torch.bfloat16).float().numpy().round().clip(0, 255).astype(np.uint8)


# What cannot be read


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3, 4, 5, 6)), "2 or 3 dimensions.*found 5"),
        (np.zeros((2, 4, 5, 3)), r"found 4: \(2, 4, 5, 3\).*Pass a batch to"),
        (np.zeros(7), "2 or 3 dimensions.*found 1"),
        (np.zeros((0, 4, 3)), r"has no pixels: its shape is \(0, 4, 3\)"),
        (np.zeros((5, 6, 7)), r"shape \(5, 6, 7\) has no axis of 1, 2, 3 or 4 channels"),
        (np.full((4, 4, 3), np.nan), "NaN or infinite"),
        (torch.full((3, 4, 4), float("nan")), "NaN or infinite"),
        (np.full((4, 4, 3), np.inf), "NaN or infinite"),
        (np.full((4, 4, 3), -0.5), "values from -0.5 to -0.5.*looks normalised"),
        (np.full((4, 4, 3), 256), "values from 256 to 256.*uint16 for 16-bit"),
        (np.full((4, 4), "x"), "holds numbers; found dtype"),
        (np.zeros((4, 4), complex), "holds numbers; found dtype complex128"),
    ],
)
def test_arrays_that_are_no_image(array: object, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        load_image(array)


def test_files_that_are_no_image(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"No image file '.*nowhere\.png'. Check the path"):
        load_image(tmp_path / "nowhere.png")
    with pytest.raises(OSError, match="No image file"):
        load_image("nowhere.png")
    with pytest.raises(ImageError, match="is a folder. Expected an image file"):
        load_image(tmp_path)
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("x" * 5000)
    with pytest.raises(ImageError, match="cannot be opened"):
        load_image("a\0b")
    text = tmp_path / "a.txt"
    text.write_text("hello")
    with pytest.raises(ImageError, match=r"Not an image that Pillow can read: '.*a\.txt'"):
        load_image(text)
    text.write_text("")
    with pytest.raises(ImageError, match="is empty: 0 bytes"):
        load_image(text)
    text.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(ImageError, match="PostScript program, which is not run"):
        load_image(text)


def test_other_sources_that_are_no_image() -> None:
    with pytest.raises(ImageError, match="An object of type int is no image. Expected a path, bytes"):
        load_image(7)
    with pytest.raises(ImageError, match="type NoneType is no image"):
        load_images(None)
    with pytest.raises(ImageError, match="type dict is no image"):
        load_images([{"a": 1}])
    with pytest.raises(ImageError, match="the list is empty. Expected at least one"):
        load_images([])
    with pytest.raises(ImageError, match="the list is empty"):
        load_images([[], ()])
    with pytest.raises(ImageError, match=r"No bytes to read an image from.*seek\(0\)"):
        load_image(io.BytesIO())
    with pytest.raises(ImageError, match="gives str, expected bytes. Open it in mode 'rb'"):
        load_image(io.StringIO("hello"))
    with pytest.raises(ImageError, match="is no data: URL"):
        load_image("data:image/png;base64")
    with pytest.raises(ImageError, match="base64 text of .* is broken"):
        load_image("data:image/png;base64,@@@")
    with pytest.raises(ImageError, match="has no pixels: it is 0x5"):
        load_image(Image.new("RGB", (0, 5)))
    with pytest.raises(ImageError, match="NaN or infinite"):
        load_image(Image.fromarray(np.full((2, 2), np.nan, np.float32)))


class Unreadable(io.BytesIO):
    def read(self, *_: object) -> bytes:
        raise RuntimeError("the line is cut")


def test_file_object_that_fails() -> None:
    with pytest.raises(ImageError, match="Reading .* failed: the line is cut"):
        load_image(Unreadable())


class Untensor:
    shape = (3, 4, 4)
    dtype = "none"

    def numpy(self) -> None:
        raise RuntimeError("on another planet")


def test_tensor_that_cannot_be_converted() -> None:
    with pytest.raises(ImageError, match="Untensor cannot be turned into an array: on another planet"):
        load_image(Untensor())


def test_truncated_image(tmp_path: Path) -> None:
    whole = png(Image.fromarray(colours(64, 64)))
    with pytest.raises(ImageError, match=r"cannot be decoded \(RGB PNG\)"):
        load_image(whole[: len(whole) // 2])
    with pytest.raises(ImageError):
        load_image(whole[:20])
    path = tmp_path / "half.png"
    path.write_bytes(whole[: len(whole) // 2])
    with Image.open(path) as opened, pytest.raises(ImageError, match="half.png.*cannot be decoded"):
        load_image(opened)


def test_pixel_limit_is_applied_before_decoding() -> None:
    whole = png(Image.new("RGB", (300, 200)))
    # Cut off right after the header: decoding it would fail differently.
    with pytest.raises(ImageError, match=r"300x200 = 60000 pixels, more than the limit of 59999.*higher max_pixels"):
        load_image(whole[:45], max_pixels=59_999)
    assert load_image(whole, max_pixels=60_000).size == (300, 200)
    assert load_image(whole, max_pixels=None).size == (300, 200)


def test_decompression_bomb() -> None:
    header = bytearray(png(Image.new("1", (8, 8))))
    header[16:24] = (100_000).to_bytes(4, "big") * 2
    import zlib

    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    with pytest.raises(ImageError, match=r"too large to decode.*PIL.Image.MAX_IMAGE_PIXELS.*max_pixels"):
        load_image(bytes(header))


def test_reading_imports_no_torch() -> None:
    code = "import sys, vision2seq.processing.image.read; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
