"""The C library's memory allocator, told to keep what it has while a model trains."""

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of mallopt(3)
KEEP, WHOLE = 2**31 - 1, 32 << 20  # the largest values that it takes
USUAL = 64 << 20  # where the trim threshold, which grows by itself, ends up in a process of this kind


@contextmanager
def kept_heap() -> Iterator[None]:
    """Freed memory stays with the process until the end of the block, and is given back then.

    glibc returns the top of the heap to the system whenever much of it is free, so every backward pass of a training
    step handed some 100 MB back and every forward pass had the system clear them again: 25,000 page faults a step.
    Other C libraries are left as they are.
    """
    try:
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        mallopt, trim = libc.mallopt, libc.malloc_trim
    except (AttributeError, OSError):
        yield
        return
    mallopt(TRIM_THRESHOLD, KEEP)
    mallopt(MMAP_THRESHOLD, WHOLE)
    try:
        yield
    finally:
        mallopt(TRIM_THRESHOLD, USUAL)
        trim(0)
