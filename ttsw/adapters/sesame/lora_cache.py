"""The LoRAs in a model's own pack, `lora/<name>/`: loaded when asked for, put back when others need the room."""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Lock

from ttsw.adapters.pytorch.batch import POLL_S, check_cancelled
from ttsw.adapters.sesame.checkpoint import Csm
from ttsw.adapters.sesame.lora_files import find_lora, read_lora
from ttsw.adapters.sesame.loras import Loras
from ttsw.formats.csm_files import LORA_CONFIG

FOLDER = "lora"
KEPT = 8
"""So many stay loaded, those that were used last; those that are spoken with stay in any case."""


class LoraCache:
    """The LoRAs of a pack.

    Args:
        root: The pack's folder.
        model: The model that they are for.
        loras: Where they are loaded.
    """

    def __init__(self, root: Path, model: Csm, loras: Loras) -> None:
        self._folders = {path.parent.name: path.parent for path in sorted(root.glob(f"{FOLDER}/*/{LORA_CONFIG}"))}
        self._model, self._loras = model, loras
        self._lock = Lock()
        self._loaded: OrderedDict[str, int] = OrderedDict()
        self._users: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Shelf: {', '.join(self._loaded) or 'none'} of {len(self._folders)} loaded>"

    @property
    def names(self) -> tuple[str, ...]:
        """What there is."""
        return tuple(self._folders)

    @contextmanager
    def borrow(self, name: str) -> Iterator[int]:
        """Give a LoRA's number, for as long as it is spoken with; those who ask for the same at once wait for one load.

        Raises:
            UnavailableError: It can't be loaded.
            trio.Cancelled: The task that this thread works for was cancelled.
        """
        while not self._lock.acquire(timeout=POLL_S):
            check_cancelled()
        try:
            number = self._load(name)
            self._users[name] = self._users.get(name, 0) + 1
            self._put_back()
        finally:
            self._lock.release()
        try:
            yield number
        finally:
            with self._lock:
                self._users[name] -= 1
                self._put_back()

    def _load(self, name: str) -> int:
        if name not in self._loaded:
            folder = self._folders[name]
            files = {path.name: path for path in folder.iterdir()}
            self._loaded[name] = self._loras.add(read_lora(*find_lora(files, folder), self._model))
        self._loaded.move_to_end(name)
        return self._loaded[name]

    def _put_back(self) -> None:
        idle = [name for name in self._loaded if not self._users.get(name)]
        for name in idle[: max(0, len(self._loaded) - KEPT)]:
            self._loras.remove(self._loaded.pop(name))
