"""One worker per batch: a lock beside the runs that ends with the process holding it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

FOLDER = ".locks"


@contextmanager
def batch_lock(root: Path | str, key: str) -> Iterator[bool]:
    """Try to hold the lock of one batch of a store, without waiting.

    The operating system drops the lock when its process ends, however it ends, so a lock never outlives its holder.

    Args:
        root: the store's folder.
        key: names the batch, for example the digest of its first cell; letters, digits, `-`, `_` and `.` only.

    Yields:
        True while the lock is held; False at once when another process (or another holder in this one) has it.

    Raises:
        ValueError: the key would leave the folder of locks.
        OSError: the folder cannot be written.
    """
    if not key or not key.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ValueError(f"got the lock key {key!r}; expected letters, digits, '-', '_' and '.'")
    folder = Path(root) / FOLDER
    folder.mkdir(exist_ok=True)
    lock = FileLock(folder / f"{key}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
