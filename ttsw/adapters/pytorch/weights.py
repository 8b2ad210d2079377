"""Reading weight files without executing anything in them, with a specific error for each defect."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ttsw.adapters.memory import raise_machine_fault
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack


def pack_file(pack: VoicePack, *roles: str) -> Path:
    """Return a pack's file with the first of these roles that it has.

    Raises:
        UnavailableError: It has none.
    """
    for role in roles:
        if role in pack.files:
            return pack.files[role]
    raise UnavailableError(
        f"voice pack {pack.root}: a model of the family {pack.family} needs {' or '.join(roles)}; the pack has "
        f"{', '.join(sorted(pack.files)) or 'none'}"
    )


def load_file(path: Path, known: Sequence[Any] = ()) -> object:
    """Load a .safetensors file, or one saved by torch. Where possible, it is memory-mapped.

    Args:
        path: The file.
        known: Classes allowed besides tensors and plain values, as in `torch.serialization.safe_globals`.

    Raises:
        UnavailableError: It can't be read, or contains anything else.
    """
    return _load_safetensors(path) if path.suffix == ".safetensors" else load_pickle(path, known)


def load_pickle(path: Path, known: Sequence[Any] = ()) -> object:
    """Load a file saved by torch without executing anything; see `load_file`."""
    try:
        with torch.serialization.safe_globals(list(known)):
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise UnavailableError(
            f"{path} holds more than weights, or is damaged, and is not read: {first_line(error)}"
        ) from error
    except Exception as error:
        raise_machine_fault(error, f"{path} cannot be read")
        raise UnavailableError(f"{path} is no file of weights, or it is damaged: {first_line(error)}") from error


def _load_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError  # noqa: PLC0415 - where a pack has such a file
    from safetensors.torch import load_file as load  # noqa: PLC0415

    try:
        return dict(load(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise_machine_fault(error, f"{path} cannot be read")
        raise UnavailableError(f"{path} is no file of weights, or it is damaged: {first_line(error)}") from error


def check_fit(wanted: Mapping[str, Sequence[int]], found: Mapping[str, Tensor], path: Path, description: str) -> None:
    """Check that weights fit a model.

    Args:
        wanted: Shapes of the model's weights by name.
        found: The weights.
        path: Their file, for the error.
        description: The files that describe the model, for the error.

    Raises:
        UnavailableError: They don't fit; the message names the first missing, superfluous or misshapen ones.
    """
    missing, more = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    wrong = [
        f"{name} is {tuple(found[name].shape)} and must be {tuple(shape)}"
        for name, shape in wanted.items()
        if name in found and tuple(found[name].shape) != tuple(shape)
    ]
    said = {
        f"it lacks {_some(missing)}": missing,
        f"it has {_some(more)}, which no such model has": more,
        _some(wrong, "; "): wrong,
    }
    if faults := [text for text, names in said.items() if names]:
        raise UnavailableError(f"{path} is not of the model that {description} describe: {'; '.join(faults)}")


def first_line(error: Exception) -> str:
    """Return the first line of a library's error message."""
    return str(error).strip().partition("\n")[0][:300] or type(error).__name__


def _some(names: list[str], separator: str = ", ") -> str:
    return separator.join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
