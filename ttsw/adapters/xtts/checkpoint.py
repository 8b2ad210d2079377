"""The model of a voice pack, made of the library's classes and filled with the weights of its file.

It is made without weights of its own and gets the file's one by one, so a load takes their memory once. What doesn't
fit is told by name and shape. Reading the files is `ttsw.adapters.xtts.files`'.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized, remove_parametrizations

from ttsw.adapters.memory import is_out_of_memory
from ttsw.adapters.pytorch.weights import check_fit, pack_file
from ttsw.adapters.xtts.files import SIZES, read_config, read_vocabulary, read_weights
from ttsw.adapters.xtts.imports import GPT, VoiceBpeTokenizer, Xtts, XttsConfig
from ttsw.errors import UnavailableError
from ttsw.types import VoicePack

WEIGHTS = ("model.safetensors", "model.pth")


def weights_file(pack: VoicePack) -> Path:
    """Find the file of a pack's weights.

    Raises:
        UnavailableError: There is none.
    """
    return pack_file(pack, *WEIGHTS)


def load_model(pack: VoicePack, device: torch.device) -> Xtts:
    """Load a pack's model: an `Xtts` in evaluation mode, on its device, as float32.

    Raises:
        UnavailableError: A file isn't what it should be; the text names it, and says what is wrong.
    """
    config = read_config(pack_file(pack, "config.json"))
    vocabulary = pack_file(pack, "vocab.json")
    tokenizer = read_vocabulary(vocabulary)
    path = weights_file(pack)
    try:
        model = _make(config, tokenizer)
    except (ValueError, TypeError, RuntimeError, ArithmeticError, AssertionError) as error:
        if is_out_of_memory(error):
            raise
        raise UnavailableError(f"{pack_file(pack, 'config.json')} gives sizes that can't be: {error}") from error
    weights = _fitting(model, read_weights(path), path)
    _fill(model, weights, device)
    return model


def _make(config: XttsConfig, tokenizer: VoiceBpeTokenizer) -> Xtts:
    """Make the model. The transformer, which is nearly all of it, gets no memory for weights before it gets weights."""
    config.model_args.gpt_number_text_tokens = None  # then it isn't made with the rest
    model = Xtts(config)
    model.tokenizer = tokenizer
    with torch.device("meta"):
        model.gpt = GPT(
            **{name: getattr(config.model_args, key) for name, key in SIZES.items()},
            start_text_token=tokenizer.tokenizer.token_to_id("[START]"),
            stop_text_token=tokenizer.tokenizer.token_to_id("[STOP]"),
            number_text_tokens=tokenizer.get_number_tokens(),
            use_perceiver_resampler=True,
        )
    return model


def _fitting(model: Xtts, weights: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Give the weights by the model's names.

    Raises:
        UnavailableError: They are not of this model.
    """
    wanted = {name: tuple(values.shape) for name, values in model.state_dict().items()}
    # the library has these masks with some versions of transformers, and not with others
    found = {
        name: values
        for name, values in weights.items()
        if name in wanted or not name.endswith(("attn.bias", "masked_bias"))
    }
    check_fit(wanted, found, path, "config.json and vocab.json")
    return found


def _fill(model: Xtts, weights: dict[str, Tensor], device: torch.device) -> None:
    """Move the weights where they belong, one by one, and leave away what speaking doesn't need."""
    for name in list(weights):
        values = weights.pop(name)
        kind = torch.float32 if values.is_floating_point() else values.dtype
        weights[name] = values.to(device, kind, copy=True)
    model.load_state_dict(weights, strict=True, assign=True)
    model.gpt.text_head = None  # it is for training
    for module in [each for each in model.modules() if is_parametrized(each, "weight")]:
        remove_parametrizations(module, "weight")
    model.requires_grad_(requires_grad=False)
    model.train(mode=False)  # `eval` would make the library's own loop, which isn't needed
