"""Installing a voice pack into a folder of voice packs, atomically.

A pack is assembled in a hidden folder beside the others and renamed into place, so that readers see all of it or
nothing. Whether it speaks well isn't checked here.
"""

import errno
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from pydantic import TypeAdapter, ValidationError

from ttsw.errors import (
    AlreadyExistsError,
    ConfigError,
    InvalidArgumentError,
    NotFoundError,
    ResourceExhaustedError,
    UnavailableError,
)
from ttsw.packs.checksums import file_sha256
from ttsw.packs.install.csm import CsmVoice, describe_csm, find_csm, guess_base
from ttsw.packs.install.piper import PiperVoice, describe_voice, find_voice
from ttsw.packs.metadata import ModelName
from ttsw.packs.metadata_file import METADATA, read_metadata
from ttsw.packs.reader import PackError, read_status
from ttsw.packs.status import PackStatus, size_text

_PIECE = 1 << 20
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True)
class PackInstaller:
    """Installs voice packs.

    Args:
        root: The folder of voice packs.
        store: Folder of downloaded files.
        name: The pack's name within its family; empty keeps its own.
        move: Whether to move the files instead of copying them.
        replace: Whether to replace a pack with the same name.
        licence: The licence of a voice without metadata.
        base: Id of the model that a LoRA is based on; empty uses the LoRA's own statement.
        progress: Receives the number of bytes copied, and the total.
    """

    root: Path
    store: Path
    name: str = ""
    move: bool = False
    replace: bool = False
    licence: str = "unknown"
    base: str = ""
    progress: Callable[[int, int], None] = field(default=lambda _done, _total: None)

    def add(self, source: Path) -> PackStatus:
        """Install a pack's folder, a Piper voice, or a fine-tuned CSM.

        Raises:
            NotFoundError: `source` doesn't exist.
            InvalidArgumentError: It is neither of these, or broken.
            AlreadyExistsError: A pack with this name exists.
            ResourceExhaustedError: The disk is full, or would be.
        """
        if not source.exists():
            raise NotFoundError(f"there is no file or folder {source}")
        try:
            if (source / METADATA).is_file():
                return self._add_folder(source)
            if csm := find_csm(source):
                return self._add_csm(csm)
            if voice := find_voice(source):
                return self._add_piper(voice)
        except OSError as error:
            if error.errno in _FULL:
                raise ResourceExhaustedError(f"the disk of {self.root} is full; nothing was added") from error
            raise UnavailableError(
                f"{source} cannot be added: {error.strerror}: {error.filename or self.root}"
            ) from error
        raise InvalidArgumentError(
            f"{source} is no voice pack (a folder with {METADATA}), no Piper voice (a .onnx file with its .onnx.json "
            f"beside it), and no fine-tuned CSM (a folder with adapter_config.json, or with a CSM's config.json)"
        )

    def _add_folder(self, source: Path) -> PackStatus:
        try:
            meta = read_metadata(source / METADATA)
        except ConfigError as error:
            raise InvalidArgumentError(str(error)) from error
        name = self._checked_name(meta.family) or meta.model_id

        def fill(folder: Path) -> None:
            self._copy(list(_walk(source)), folder)
            if name != meta.model_id:
                _rename(folder / METADATA, name)

        draft = self._install(source, meta.family, name, fill)
        if self.move:
            shutil.rmtree(source.resolve())
            if source.is_symlink():
                source.unlink()
        return draft

    def _add_piper(self, voice: PiperVoice) -> PackStatus:
        files = {"model.onnx": voice.model, "config.json": voice.config}

        def describe(name: str, checksums: dict[str, str]) -> str:
            return describe_voice(voice, name, checksums, self.licence)

        return self._add_files(voice.model, "piper", voice.name, files, describe)

    def _add_csm(self, voice: CsmVoice) -> PackStatus:
        base = self.base or guess_base(voice)
        if voice.lora and not base:
            raise InvalidArgumentError(
                f"{voice.folder} is a LoRA of {voice.base!r}: name the model that it is based on with --base, for "
                f"example sesame-csm-1b"
            )

        def describe(name: str, checksums: dict[str, str]) -> str:
            return describe_csm(voice, name, base, checksums, self.licence)

        return self._add_files(voice.folder, "sesame", voice.name, voice.files, describe)

    def _add_files(
        self,
        source: Path,
        family: str,
        own_name: str,
        files: Mapping[str, Path],
        describe: Callable[[str, dict[str, str]], str],
    ) -> PackStatus:
        """Install a voice without metadata: its files by role, described by its name and their checksums."""
        name = self._checked_name(family) or own_name
        if not name:
            raise InvalidArgumentError(f"{source} has no name that a pack can have; name it with --id")

        def fill(folder: Path) -> None:
            self._copy([(path, role) for role, path in files.items()], folder)
            checksums = {role: file_sha256(folder / role) for role in files}
            (folder / METADATA).write_text(describe(name, checksums), "utf-8")

        draft = self._install(source, family, name, fill)
        if self.move:
            for path in files.values():
                path.unlink()
        return draft

    def _checked_name(self, family: str) -> str:
        name = self.name.removeprefix(f"{family}-")
        if not name:
            return ""
        try:
            return TypeAdapter[str](ModelName).validate_python(name)
        except ValidationError as error:
            raise InvalidArgumentError(f"{self.name!r} is no name for a pack: it {error.errors()[0]['msg']}") from error

    def _install(self, source: Path, family: str, name: str, fill: Callable[[Path], None]) -> PackStatus:
        target = self.root / family / name
        self._check_free(target, source)
        self.root.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(prefix=".adding-", dir=self.root) as temporary:
            folder = Path(temporary, family, name)
            folder.mkdir(parents=True)
            fill(folder)
            try:
                read_status(folder, self.store)
            except PackError as error:
                raise InvalidArgumentError(str(error).replace(str(folder), str(source))) from error
            target.parent.mkdir(exist_ok=True)
            _exchange(folder, target, Path(temporary, "old"))
        return read_status(target, self.store)

    def _check_free(self, target: Path, source: Path) -> None:
        if source.resolve() == target.resolve():
            raise AlreadyExistsError(f"{source} is a voice pack of that folder already")
        if os.path.lexists(target) and not self.replace:
            raise AlreadyExistsError(
                f"there is a voice pack {target}; remove it, or add this one with --replace or --id"
            )
        model_id = f"{target.parent.name}-{target.name}"
        for other in self.root.glob("*/*"):
            if other != target and f"{other.parent.name}-{other.name}" == model_id:
                raise AlreadyExistsError(
                    f"there is a voice pack with the id {model_id}, {other}; add this one with --id"
                )

    def _copy(self, files: list[tuple[Path, str]], folder: Path) -> None:
        """Copy files into a folder under their names; on the same disk, files to move are only renamed."""
        total = sum(path.stat().st_size for path, _ in files)
        free = shutil.disk_usage(folder).free
        linked = self.move and _one_disk(files, folder)
        if total > free and not linked:
            raise ResourceExhaustedError(
                f"{size_text(total)} are to be copied, and {folder} has {size_text(free)} free"
            )
        done = 0
        for path, name in files:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if linked:
                target.hardlink_to(path.resolve())
                done += path.stat().st_size
                self.progress(done, total)
                continue
            for size in _copy(path, target):
                done += size
                self.progress(done, total)


def _one_disk(files: list[tuple[Path, str]], folder: Path) -> bool:
    return {path.stat().st_dev for path, _ in files} == {folder.stat().st_dev}


def _walk(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the visible files of a folder, with their names in it."""

    def fail(error: OSError) -> None:
        raise error

    for here, folders, files in os.walk(source, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in [*files, *folders]:
            path = Path(here, name)
            if name.startswith(".") or (name in folders and not path.is_symlink()):
                continue
            if not path.is_file():
                raise InvalidArgumentError(f"{path} is no regular file; a voice pack is made of files and folders")
            yield path, str(path.relative_to(source))


def _copy(source: Path, target: Path) -> Iterator[int]:
    with source.open("rb") as reading, target.open("xb") as writing:
        while piece := reading.read(_PIECE):
            writing.write(piece)
            yield len(piece)
        writing.flush()
        os.fsync(writing.fileno())


def _exchange(folder: Path, target: Path, old: Path) -> None:
    """Put a folder in place, and move the previous one out of the way."""
    if not os.path.lexists(target):
        folder.rename(target)
        return
    target.rename(old)
    try:
        folder.rename(target)
    except OSError:
        old.rename(target)
        raise


def _rename(path: Path, name: str) -> None:
    """Rename a pack in its metadata, keeping comments."""
    text, found = re.subn(r"(?m)^model_id:.*$", f"model_id: {name}", path.read_text("utf-8"), count=1)
    if not found:
        raise InvalidArgumentError(f"{METADATA} has no line that begins with model_id:, so it can't be renamed")
    path.unlink()  # if it is a hard link to the source, this leaves the source unchanged
    path.write_text(text, "utf-8")
