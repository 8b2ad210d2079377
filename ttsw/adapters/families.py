"""The installed engine families: the entry points of the group `ttsw.adapters`, from this and other packages."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

from ttsw.adapters.base import TTSAdapter
from ttsw.errors import NotFoundError, UnavailableError
from ttsw.system.extras import install_hint

GROUP = "ttsw.adapters"


@cache
def families() -> Mapping[str, EntryPoint]:
    """Return all installed families by name, without importing them.

    The distributions are searched once per process, which takes milliseconds.
    """
    return MappingProxyType({entry.name: entry for entry in entry_points(group=GROUP)})


def find_family(family: str) -> EntryPoint:
    """Return a family's entry point, without importing it.

    Raises:
        NotFoundError: No installed package provides this family; the message lists the installed ones.
    """
    known = families()
    if family not in known:
        raise NotFoundError(f"no adapter for family {family!r} is installed; there are: {', '.join(sorted(known))}")
    return known[family]


def adapter_class(family: str) -> type[TTSAdapter]:
    """Import a family's adapter.

    Raises:
        NotFoundError: No installed package provides this family.
        UnavailableError: A library of the family isn't installed, or the entry point isn't an adapter.
    """
    entry = find_family(family)
    try:
        found = entry.load()
    except ImportError as error:
        raise UnavailableError(
            f"family {family!r} cannot be used: {error}; its libraries come with: {install_hint(family)}"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TTSAdapter)):
        raise UnavailableError(f"the entry point of family {family!r} names {found!r}, which is no TTSAdapter")
    return found


def home(entry: EntryPoint) -> dict[str, Path]:
    """Return the top-level package of an adapter and its path, for an interpreter that lacks it."""
    top = entry.module.partition(".")[0]
    spec = find_spec(top)
    if spec is None or spec.origin is None:
        return {}
    origin = Path(spec.origin)
    return {top: origin.parent if spec.submodule_search_locations else origin}
