"""Makes a screenshot small: its colours become the 256 that stand for them best, without dithering.

A night sky is a gradient with noise in it, which is what makes a screenshot large; a palette takes the noise away.
The cut is by Heckbert, "Color image quantization for frame buffer display" (1982): the box with the most pixels along
its longest side is halved at the median, until there are enough boxes.
"""  # noqa: INP001 - part of a program, no package.

import struct
import zlib
from collections import Counter

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_RGB = bytes((8, 2, 0, 0, 0))
_PALETTE = bytes((8, 3, 0, 0, 0))
_MOST = 256

Colour = tuple[int, int, int]
Box = list[tuple[Colour, int]]


def shrink(png: bytes) -> bytes:
    """The same picture with a palette; raises ValueError for anything but 8 bits of RGB without interlace."""
    parts = _chunks(png)
    width, height = struct.unpack(">II", parts[b"IHDR"][:8])
    if parts[b"IHDR"][8:] != _RGB:
        raise ValueError("only screenshots of 8-bit RGB are read")
    rows = _rows(zlib.decompress(parts[b"IDAT"]), width, height)
    pixels = [list(zip(row[0::3], row[1::3], row[2::3], strict=True)) for row in rows]
    boxes = _boxes(list(Counter(colour for row in pixels for colour in row).items()))
    place = {colour: at for at, box in enumerate(boxes) for colour, _ in box}
    raw = b"".join(b"\0" + bytes([place[colour] for colour in row]) for row in pixels)
    palette = bytes(part for box in boxes for part in _mean(box))
    header = struct.pack(">II", width, height) + _PALETTE
    written = ((b"IHDR", header), (b"PLTE", palette), (b"IDAT", zlib.compress(raw, 9)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in written)


def _chunks(png: bytes) -> dict[bytes, bytes]:
    """The content of each kind of chunk, put together."""
    found: dict[bytes, bytes] = {}
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        kind = png[at + 4 : at + 8]
        found[kind] = found.get(kind, b"") + png[at + 8 : at + 8 + length]
        at += 12 + length
    return found


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _rows(raw: bytes, width: int, height: int) -> list[bytearray]:
    """Rows without their filters (PNG, third edition, section 9)."""
    rows: list[bytearray] = []
    stride, above = width * 3, bytearray(width * 3)
    for number in range(height):
        start = number * (stride + 1)
        row = bytearray(raw[start + 1 : start + 1 + stride])
        _unfilter(raw[start], row, above)
        rows.append(row)
        above = row
    return rows


def _unfilter(kind: int, row: bytearray, above: bytearray) -> None:
    for at in range(len(row)) if kind else ():
        left = row[at - 3] if at >= 3 else 0
        corner = above[at - 3] if at >= 3 else 0
        guesses = (0, left, above[at], (left + above[at]) // 2, _paeth(left, above[at], corner))
        row[at] = (row[at] + guesses[kind]) & 0xFF


def _paeth(left: int, up: int, corner: int) -> int:
    guess = left + up - corner
    return min((left, up, corner), key=lambda one: abs(guess - one))


def _boxes(colours: Box) -> list[Box]:
    boxes = [colours]
    while len(boxes) < _MOST:
        widest = max(boxes, key=_worth)
        if len(widest) < 2:
            break
        boxes.remove(widest)
        boxes += _halves(widest)
    return boxes


def _worth(box: Box) -> float:
    """How much is gained by halving a box: its longest side, and a little for how many pixels are in it."""
    pixels = sum(count for _, count in box)
    return max(_sides(box)) * float(pixels**0.4)


def _sides(box: Box) -> list[int]:
    return [max(parts) - min(parts) for parts in zip(*(colour for colour, _ in box), strict=True)]


def _longest(box: Box) -> int:
    sides = _sides(box)
    return sides.index(max(sides))


def _halves(box: Box) -> list[Box]:
    along = _longest(box)
    ordered = sorted(box, key=lambda item: item[0][along])
    half, seen, at = sum(count for _, count in ordered) / 2, 0, 0
    while at < len(ordered) - 1 and (at == 0 or seen < half):
        seen += ordered[at][1]
        at += 1
    return [ordered[:at], ordered[at:]]


def _mean(box: Box) -> Colour:
    pixels = sum(count for _, count in box)
    red, green, blue = (round(sum(colour[at] * count for colour, count in box) / pixels) for at in range(3))
    return red, green, blue
