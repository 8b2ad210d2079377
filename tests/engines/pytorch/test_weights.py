"""Files of weights: what keeps them from being read is told apart from what is wrong with them."""

import errno
import os

import pytest
import torch
from safetensors.torch import save_file

from ttsw.adapters.pytorch import weights as module
from ttsw.adapters.pytorch.weights import load_file
from ttsw.errors import UnavailableError


@pytest.fixture(params=["weights.safetensors", "weights.pt"])
def path(request, tmp_path):
    path = tmp_path / request.param
    if path.suffix == ".pt":
        torch.save({"a": torch.ones(4)}, path)
    else:
        save_file({"a": torch.ones(4)}, path)
    return path


def failing(error):
    def fail(*_, **__):
        raise error

    return fail


def test_whole_files_are_read(path):
    assert torch.equal(load_file(path)["a"], torch.ones(4))


def test_a_file_that_is_cut_short_is_damaged(path):
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UnavailableError, match="is no file of weights, or it is damaged"):
        load_file(path)


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_what_the_system_refuses_is_not_the_files_fault(path, monkeypatch, number):
    said = f"{os.strerror(number)} (os error {number})"
    monkeypatch.setattr(module.torch, "load", failing(RuntimeError(f"unable to open file: {said}")))
    monkeypatch.setattr("safetensors.torch.load_file", failing(OSError(said)))
    with pytest.raises(UnavailableError, match=rf"cannot be read: {os.strerror(number)}; ") as caught:
        load_file(path)
    assert "damaged" not in str(caught.value)


def test_a_lack_of_memory_is_told_as_it_is(path, monkeypatch):
    monkeypatch.setattr(module.torch, "load", failing(MemoryError()))
    monkeypatch.setattr("safetensors.torch.load_file", failing(MemoryError()))
    with pytest.raises(MemoryError):
        load_file(path)
