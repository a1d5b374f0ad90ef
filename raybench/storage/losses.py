"""Bytes of an open file that do not come: a store that fails, a connection that breaks, a disk that cannot be read.

It says nothing of what the file holds, so it is told otherwise than damage.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from raybench.errors import DataError

_LOSSES = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOTCONN)


def is_loss(error: BaseException) -> bool:
    """Whether an error says that bytes do not come; a file that is not there is none."""
    return isinstance(error, OSError) and (error.errno in _LOSSES or "AWS Error" in str(error))


@contextlib.contextmanager
def telling_losses(uri: str) -> Iterator[None]:
    """Turn a loss while the file at ``uri`` is read into a DataError that names it."""
    try:
        yield
    except OSError as error:
        if not is_loss(error):
            raise
        raise DataError(f"{uri}: cannot be read: {' '.join(str(error).split())}") from error
