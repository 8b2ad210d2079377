"""How `ttsw models` shows what a worker tells."""

import pytest
from rich.console import Console

from ttsw.cli.models import _find, _plain, _table
from ttsw.errors import NotFoundError
from ttsw.fronts.abi.generated.tts import ModelInfo

IDLE = {"state": "ready", "leases": "0", "idle_s": "3.6"}
USED = {"state": "ready", "device": "cpu", "size_mb": "131.1", "leases": "2", "license": "CC0-1.0: freely"}
INFOS = [
    ModelInfo(model_id="b-absent", family="b", languages=[*"abcdef"], metadata={"state": "absent", "size_mb": "7.5"}),
    ModelInfo(model_id="a-[red]", family="a", is_loaded=True, languages=["en"], metadata=USED),
    ModelInfo(model_id="c-idle", family="c", is_loaded=True, metadata=IDLE),
]


def shown(infos):
    console = Console(width=200)
    with console.capture() as capture:
        console.print(_table(infos))
    return [line.split() for line in capture.get().splitlines()]


def test_what_is_in_memory_comes_first():
    heading, first, second, third = shown(INFOS)
    assert heading == ["model", "state", "device", "MB", "sessions", "idle", "languages", "licence"]
    assert first == ["a-[red]", "ready", "cpu", "131.1", "2", "en", "CC0-1.0"]
    assert second == ["c-idle", "ready", "0", "4", "s"]
    assert third == ["b-absent", "absent", "7.5", "a,", "b,", "c,", "d,", "…"]


def test_programs_get_everything():
    assert _plain(INFOS[0]) == {
        "model_id": "b-absent",
        "family": "b",
        "is_loaded": False,
        "languages": list("abcdef"),
        "state": "absent",
        "size_mb": "7.5",
    }


def test_an_unknown_model_is_told_with_those_there_are():
    assert _find(INFOS, "c-idle") is INFOS[2]
    with pytest.raises(NotFoundError, match=r"no model 'x' on this worker; there are: a-\[red\], b-absent, c-idle"):
        _find(INFOS, "x")
    with pytest.raises(NotFoundError, match="there are: none"):
        _find([], "x")
