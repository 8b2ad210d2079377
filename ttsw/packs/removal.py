"""Removing a voice pack atomically, with those of its downloaded files that no other pack uses."""

import shutil
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from ttsw.errors import UnavailableError
from ttsw.packs.reader import PackError, read_status


def remove_pack(folder: Path, store: Path, others: Iterable[str]) -> int:
    """Remove a pack's folder, and those of its downloaded files that no other pack names.

    Args:
        folder: The pack.
        store: Folder of downloaded files.
        others: Checksums that other packs name.

    Returns:
        Size of the removed downloads, bytes.

    Raises:
        UnavailableError: The pack can't be removed.
    """
    try:
        try:
            own = set(read_status(folder, store).pack.checksums.values()) - set(others)
        except PackError:
            own = set()
        if folder.is_symlink():
            folder.unlink()
        else:
            with TemporaryDirectory(prefix=".removing-", dir=folder.parent.parent) as temporary:
                folder.rename(Path(temporary, folder.name))  # so that no reader sees half of it
        return sum(_remove_downloads(store / sha256) for sha256 in own)
    except OSError as error:
        raise UnavailableError(f"{folder} cannot be removed: {error.strerror}") from error


def _remove_downloads(folder: Path) -> int:
    if not folder.is_dir():
        return 0
    size = max((path.stat().st_size for path in folder.iterdir()), default=0)  # several names may be links to one file
    shutil.rmtree(folder)
    return size
