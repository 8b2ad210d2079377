"""Sessions on ONNX Runtime: device, threads, and memory settings."""

from pathlib import Path

import onnxruntime

from ttsw.errors import UnavailableError
from ttsw.system.extras import pip_line

CUDA = "CUDAExecutionProvider"


def open_session(
    model: Path | bytes, threads: int, weights: Path | None = None, device: str = "cpu"
) -> onnxruntime.InferenceSession:
    """Open a graph, from a file or from memory.

    Args:
        model: The graph.
        threads: Threads of one inference.
        weights: The folder of the files that a graph from memory refers to. They are mapped: what changes in them
            afterwards changes the weights, and what is cut off ends the process; so let it be nobody else's folder.
        device: Where it runs: `cpu`, `cuda:0` …

    Threads that wait must not spin: on two shared cores two that do take 4 times the CPU time, make speech 2 to 4 times
    slower and an event loop's tick 2 to 4 times later. The arena and the memory patterns would be 3 % faster, but keep
    80 MB more for each voice and grow with every length seen.

    Raises:
        UnavailableError: ONNX Runtime can't run anything there.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if weights is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    graph = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(graph, options, providers(device))
    if device != "cpu" and CUDA not in session.get_providers():  # ONNX Runtime only warns, and would use the CPU
        raise UnavailableError(
            f"ONNX Runtime has its {CUDA}, but can't use it on {device}: the CUDA and cuDNN libraries or the driver "
            f"are missing, or of other versions than ONNX Runtime {onnxruntime.__version__} needs; its log says which"
        )
    session._model_bytes = None  # a second copy of all weights, kept only for opening them on another provider
    return session


def providers(device: str) -> list[str | tuple[str, dict[str, str]]]:
    """Return the execution providers for a device; nodes that CUDA lacks run on the CPU.

    Raises:
        UnavailableError: This build of ONNX Runtime lacks the provider.
    """
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if CUDA not in onnxruntime.get_available_providers():
        raise UnavailableError(
            f"ONNX Runtime here can't run anything on {device}: it is built without {CUDA}; "
            f"{pip_line('uninstall', 'onnxruntime')}, and {pip_line('install', 'onnxruntime-gpu')} in its place"
        )
    number = device.partition(":")[2] or "0"
    # by default the arena doubles with each growth, and keeps it
    return [(CUDA, {"device_id": number, "arena_extend_strategy": "kSameAsRequested"}), "CPUExecutionProvider"]
