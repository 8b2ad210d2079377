"""ONNX Runtime as this process can bear it: which threads it has, and what it keeps of memory."""

from pathlib import Path

import onnxruntime


def open_session(model: Path | bytes, threads: int, weights: Path | None = None) -> onnxruntime.InferenceSession:
    """Open a graph, from a file or from memory, on the CPU.

    Args:
        model: The graph.
        threads: Threads of one inference.
        weights: The folder of the files that a graph from memory refers to. They are mapped: what changes in them
            afterwards changes the weights, and what is cut off ends the process; so let it be nobody else's folder.

    Threads that wait must not spin: on two shared cores two that do take 4 times the CPU time, make speech 2 to 4 times
    slower and an event loop's tick 2 to 4 times later. The arena and the memory patterns would be 3 % faster, but keep
    80 MB more for each voice and grow with every length seen.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = options.enable_mem_pattern = False
    if weights is not None:
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(weights))
    graph = model if isinstance(model, bytes) else str(model)
    session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
    session._model_bytes = None  # a second copy of all weights, kept only for opening them on another provider
    return session
