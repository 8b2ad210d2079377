"""Somebody who loads and unloads models: `python -m bench.clients.loads PORT`.

A line `load MODEL` or `unload MODEL` does that once and tells how long it took; `churn MODEL SECONDS` does both by
turns, at least once, and begins no further load once the time has passed.
"""

import sys
from collections.abc import Mapping
from time import monotonic
from typing import Any

from bench.clients.sessions import SERVICE, rounds, tell
from bench.wire import Client
from ttsw.fronts.abi.generated.tts import (
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)


class Owner:
    """Asks one server."""

    def __init__(self, port: int) -> None:
        self._client = Client(("127.0.0.1", port))
        self._connection = self._client.connect()[0]

    def load(self, model_id: str) -> Mapping[str, Any]:
        """Load it; tells how long that took, and what it takes by the server's measure."""
        began = monotonic()
        answer = LoadModelResponse.parse(self._ask("LoadModel", bytes(LoadModelRequest(model_id=model_id))))
        took_s = monotonic() - began
        _check(answer)
        models = ListModelsResponse.parse(self._ask("ListModels", b"")).models
        told = next(model.metadata for model in models if model.model_id == model_id)
        return {"took_s": took_s, "size_mb": float(told["size_mb"])}

    def unload(self, model_id: str) -> Mapping[str, Any]:
        """Unload it; the answer comes when its memory is back."""
        began = monotonic()
        _check(UnloadModelResponse.parse(self._ask("UnloadModel", bytes(UnloadModelRequest(model_id=model_id)))))
        return {"took_s": monotonic() - began}

    def churn(self, model_id: str, seconds: float) -> Mapping[str, Any]:
        """Load and unload it again and again."""
        began = monotonic()
        loads: list[float] = []
        while not loads or monotonic() - began < seconds:
            loads.append(self.load(model_id)["took_s"])
            self.unload(model_id)
        return {"load_s": loads, "took_s": monotonic() - began}

    def _ask(self, method: str, request: bytes) -> bytes:
        return self._client.unary(self._connection, SERVICE + method, request)


def _check(answer: LoadModelResponse | UnloadModelResponse) -> None:
    if not answer.success:
        raise RuntimeError(answer.message)


def main() -> None:
    """Do what the parent asks for."""
    owner = Owner(int(sys.argv[1]))
    for order in rounds():
        match order.split():
            case ["load", model_id]:
                tell(owner.load(model_id))
            case ["unload", model_id]:
                tell(owner.unload(model_id))
            case ["churn", model_id, seconds]:
                tell(owner.churn(model_id, float(seconds)))
            case _:
                raise ValueError(order)


if __name__ == "__main__":
    main()
