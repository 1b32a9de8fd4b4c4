"""Decompression that stops at a bound instead of filling the memory."""

from __future__ import annotations

import zlib

from insula.bundles.bounds import BundleBounds
from insula.kernel.errors import InvalidRequest, TooLarge

_STEP = 256 * 1024
_GZIP = 31  # zlib's wbits for exactly one gzip member
_OVERHEAD = 2048  # of tar for each entry: a header, and another where the name is long, and padding


def gunzip(packed: bytes, bounds: BundleBounds) -> bytes:
    """Return the content of one gzip member.

    Never holds more than the bounds allow. Raises ``TooLarge`` past a bound, ``InvalidRequest`` for
    anything that is not gzip, is cut off, or has something behind it.
    """
    if len(packed) > bounds.packed_bytes:
        raise TooLarge(
            f"the bundle has {len(packed)} bytes, more than {bounds.packed_bytes}",
            hint="leave large files out; agents can write to /work",
            field="bundle",
        )
    most = bounds.bytes + bounds.entries * _OVERHEAD
    stream = zlib.decompressobj(_GZIP)
    parts: list[bytes] = []
    size = 0
    rest = packed
    while not stream.eof:
        part = _step(stream, rest)
        rest = stream.unconsumed_tail
        if not part and not rest and not stream.eof:
            raise _broken("is cut off")
        parts.append(part)
        size += len(part)
        _check(size, len(packed), most, bounds)
    if stream.unused_data:
        raise _broken("has something behind its end")
    return b"".join(parts)


def _step(stream: zlib._Decompress, data: bytes) -> bytes:
    try:
        return stream.decompress(data, _STEP)
    except zlib.error:
        raise _broken("is not gzip, or is damaged") from None


def _check(size: int, packed: int, most: int, bounds: BundleBounds) -> None:
    if size > most:
        raise TooLarge(
            f"the bundle unpacks to more than {bounds.bytes} bytes",
            hint="leave large files out",
            field="bundle",
        )
    if size > bounds.ratio_from and size > packed * bounds.ratio:
        raise TooLarge(
            f"the bundle unpacks to more than {bounds.ratio} times its size, as only a bomb does",
            hint="leave generated or repetitive files out",
            field="bundle",
        )


def _broken(problem: str) -> InvalidRequest:
    return InvalidRequest(
        f"the bundle {problem}", hint="send a tar.gz, as `insula agent deploy` makes", field="bundle"
    )
