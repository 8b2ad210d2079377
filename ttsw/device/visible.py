"""The GPUs that CUDA shows to a program, and their order: CUDA_VISIBLE_DEVICES, as CUDA and torch read it."""

import re
from collections.abc import Iterable, Sequence

GPU, MIG = "GPU-", "MIG-"


def visible(value: str | None, uuids: Sequence[str]) -> tuple[str, ...]:
    """Choose the GPUs that a program can use; `cuda:0` is the first.

    The first entry that names no GPU, or several, ends the list; an entry that comes twice empties it. So says CUDA's
    guide, and so does torch (`torch.cuda._parse_visible_devices`).

    Args:
        value: What CUDA_VISIBLE_DEVICES is set to: numbers, or beginnings of UUIDs (`GPU-8932f937`), or the whole UUID
            of a part of a GPU (`MIG-…`; CUDA gives a process one, the first). None where it isn't set: all GPUs.
        uuids: The UUIDs of all GPUs, in CUDA's order.

    Returns:
        UUIDs. That of a part isn't among `uuids`, and may not exist.
    """
    if value is None:
        return tuple(uuids)
    entries = value.split(",")
    if value.startswith(MIG):
        return (entries[0],)
    if value.startswith(GPU):
        return _until_none(_only(uuids, entry) for entry in _until_none(_beginning(entry) for entry in entries))
    numbers = _until_none(_number(entry) for entry in entries)
    return _until_none(uuids[int(number)] if int(number) < len(uuids) else None for number in numbers)


def _until_none(found: Iterable[str | None]) -> tuple[str, ...]:
    """Return the items before the first None; nothing if an item repeats."""
    taken: list[str] = []
    for one in found:
        if one is None:
            break
        if one in taken:
            return ()
        taken.append(one)
    return tuple(taken)


def _beginning(entry: str) -> str | None:
    return entry if entry.startswith(GPU) else None


def _only(uuids: Sequence[str], beginning: str) -> str | None:
    fitting = [uuid for uuid in uuids if uuid.startswith(beginning)]
    return fitting[0] if len(fitting) == 1 else None


def _number(entry: str) -> str | None:
    """Read a number as C does: characters after the digits are ignored."""
    digits = re.match(r"\s*\+?0*([0-9]+)", entry)
    return digits[1] if digits else None
