"""The C library's heap: how much of it is free, and returning that to the system."""

import ctypes


def trim_memory() -> None:
    """Return the C library's free memory to the system: after a load 130 MB, after an unload a whole voice."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)


class _Mallinfo2(ctypes.Structure):
    """`struct mallinfo2` of glibc, malloc.h."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *(
                "arena",
                "ordblks",
                "smblks",
                "hblks",
                "hblkhd",
                "usmblks",
                "fsmblks",
                "uordblks",
                "fordblks",
                "keepcost",
            ),
        )
    ]


def free_bytes() -> int:
    """Count the free bytes of the C library's heap; 0 where it can't tell (before glibc 2.33, or another library)."""
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is None:
        return 0
    look.restype = _Mallinfo2
    return int(look().fordblks)
