"""Which families there are: the entry points of the group `ttsw.adapters`, ours and those of other packages."""

from importlib.metadata import EntryPoint, entry_points

from ttsw.adapters.base import TTSAdapter
from ttsw.errors import NotFoundError, UnavailableError

GROUP = "ttsw.adapters"


def families() -> dict[str, EntryPoint]:
    """Every installed family by name; nothing of them is imported yet."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def adapter_class(family: str) -> type[TTSAdapter]:
    """Import a family's adapter.

    Raises:
        NotFoundError: No installed package brings this family; the message lists those that are.
        UnavailableError: The family is known, but what it stands on is not installed, or isn't an adapter.
    """
    known = families()
    if family not in known:
        raise NotFoundError(f"no adapter for family {family!r} is installed; there are: {', '.join(sorted(known))}")
    try:
        found = known[family].load()
    except ImportError as error:
        raise UnavailableError(
            f"family {family!r} cannot be used: {error}; its libraries come with: pip install 'ttsw[{family}]'"
        ) from error
    if not (isinstance(found, type) and issubclass(found, TTSAdapter)):
        raise UnavailableError(f"the entry point of family {family!r} names {found!r}, which is no TTSAdapter")
    return found
