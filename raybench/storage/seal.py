"""Hashes that a Parquet file of ours carries of itself, in bytes that other readers pass over.

    PAR1  pages ...  MARK  sha256(footer)  sha256(PAR1 pages ...)  footer  length  PAR1

A footer says where every page lies, and readers follow it before any checksum of a page can help: a bit that flips
in it may end the process. So it is compared with its hash while it is still plain bytes. The pages have checksums of
their own; their headers do not, so the hash of all of them is compared where all of them are at hand.
"""

from __future__ import annotations

import hashlib

MARK = b"RBSEAL1\n"
BYTES = len(MARK) + 2 * hashlib.sha256().digest_size
_TAIL = 8  # length of the footer, PAR1


def sealed(data: bytes) -> bytes:
    """The Parquet file ``data`` with its hashes put before the footer."""
    at = len(data) - _TAIL - int.from_bytes(data[-8:-4], "little")
    pages, footer = memoryview(data)[:at], data[at:-_TAIL]
    return b"".join([pages, MARK, hashlib.sha256(footer).digest(), hashlib.sha256(pages).digest(), data[at:]])


def is_whole(before: bytes, footer: bytes, *, all_pages: bool) -> bool:
    """Whether ``footer`` is what was written, and with ``all_pages`` whether those are, too.

    ``before``: the bytes that lie before the footer, from the start of the file on with ``all_pages``. A file without
    a seal, such as one that somebody else wrote, says nothing against itself.
    """
    seal = before[-BYTES:]
    if seal[: len(MARK)] != MARK:
        return True
    of_footer, of_pages = seal[len(MARK) : -32], seal[-32:]
    if hashlib.sha256(footer).digest() != of_footer:
        return False
    return not all_pages or hashlib.sha256(before[:-BYTES]).digest() == of_pages


def holds(data: bytes) -> bool:
    """Whether a whole file in memory is what its hashes say; False too for one that carries none."""
    at = len(data) - _TAIL - int.from_bytes(data[-8:-4], "little")
    before, footer = data[: max(at, 0)], data[max(at, 0) : -_TAIL]
    return before[-BYTES:].startswith(MARK) and is_whole(before, footer, all_pages=True)
