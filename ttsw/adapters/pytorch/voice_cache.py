"""Cache of voices, as computed from recordings.

A voice depends on the recording, the weights and the computation, so its key is a digest of all of these. Voices are
cached in memory, and on disk (as arrays, never as pickles) for later processes.
"""

import hashlib
import os
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from ttsw.adapters.pytorch.batch import POLL_S, check_cancelled
from ttsw.errors import InvalidArgumentError
from ttsw.system.files import open_whole
from ttsw.system.machine import cannot_read

KEPT = 64
"""Most voices in memory; the least recently used is dropped."""

T = TypeVar("T")
VoiceT = TypeVar("VoiceT", bound=tuple[Tensor, ...])


class VoiceCache(Generic[VoiceT]):
    """The voices of one model.

    Args:
        kind: Type of a voice: a NamedTuple of tensors.
        compute: Computes a voice from a recording. Called by one thread at a time.
        check: Raises a ValueError if a voice from disk doesn't fit this model.
        identity: Identifies the weights and the computation.
        folder: Cache folder; None caches in memory only.
        device: Device of the tensors.
    """

    def __init__(
        self,
        kind: type[VoiceT],
        compute: Callable[[Path], VoiceT],
        check: Callable[[VoiceT], object],
        *,
        identity: str,
        folder: Path | None,
        device: torch.device,
    ) -> None:
        self._kind, self._compute_from, self._check = kind, compute, check
        self._identity, self._folder, self._device = identity, folder, device
        self._fields = cast("Any", kind)._fields
        self._voices: OrderedDict[str, VoiceT] = OrderedDict()
        self._digests: OrderedDict[tuple[Path, int, int], str] = OrderedDict()
        self._lock = Lock()
        self._computing = Lock()
        self.computed = 0
        """Number of voices computed rather than found in the cache."""

    def get(self, path: Path) -> VoiceT:
        """Return the voice of a recording; concurrent callers share one computation.

        Raises:
            InvalidArgumentError: No voice can be cloned from it; the message says why.
            UnavailableError: The system denies access to it.
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        key = self._key(path)
        with self._lock:
            if (voice := _used(self._voices, key)) is not None:
                return voice
        while not self._computing.acquire(timeout=POLL_S):
            check_cancelled()
        try:
            with self._lock:
                voice = _used(self._voices, key)
            if voice is None:
                voice = self._load(key) or self._compute(path, key)
                with self._lock:
                    _use(self._voices, key, voice)
            return voice
        finally:
            self._computing.release()

    def _key(self, path: Path) -> str:
        try:
            found = path.stat()
            version = (path, found.st_size, found.st_mtime_ns)
            with self._lock:
                if (digest := _used(self._digests, version)) is not None:
                    return digest
            with path.open("rb") as file:
                hashing = hashlib.file_digest(file, "sha256")
            hashing.update(self._identity.encode())
            digest = hashing.hexdigest()
        except OSError as error:
            raise cannot_read(path, error) from error
        with self._lock:
            return _use(self._digests, version, digest)

    def _compute(self, path: Path, key: str) -> VoiceT:
        voice = self._compute_from(path)
        self.computed += 1
        if not all(bool(each.isfinite().all()) for each in voice):
            raise InvalidArgumentError(f"the model finds no voice in {path}: what it takes from it is not finite")
        self._save(key, voice)
        return voice

    def _load(self, key: str) -> VoiceT | None:
        if self._folder is None:
            return None
        try:
            with (self._folder / f"{key}.npz").open("rb") as file, np.load(file, allow_pickle=False) as kept:
                tensors = {name: torch.from_numpy(kept[name]).to(self._device) for name in self._fields}
            voice = self._kind(**tensors)
            self._check(voice)
        except Exception:  # an unusable file is computed again
            return None
        return voice

    def _save(self, key: str, voice: VoiceT) -> None:
        if self._folder is None:
            return
        tensors = {name: getattr(voice, name).cpu().numpy() for name in self._fields}
        with suppress(OSError):  # on a full disk, the next process computes it again
            self._folder.mkdir(parents=True, exist_ok=True)
            with open_whole(self._folder / f"{key}.npz") as file:
                np.savez(file, **tensors)


def identify(path: Path) -> str:
    """Identify a file until it is replaced, without the cost of a digest over gigabytes."""
    found = path.stat()
    return f"{os.fspath(path)} {found.st_size} {found.st_mtime_ns}"


def _used(kept: "OrderedDict[Any, T]", key: object) -> T | None:
    if key in kept:
        kept.move_to_end(key)
    return kept.get(key)


def _use(kept: "OrderedDict[Any, T]", key: object, value: T) -> T:
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > KEPT:
        kept.popitem(last=False)
    return value
