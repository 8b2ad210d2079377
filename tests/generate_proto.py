"""Generate the wire types from proto/tts.proto: `python -m tests.generate_proto FOLDER`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def generate(target: Path) -> None:
    """Write what betterproto2 makes of proto/tts.proto into `target`, in place of what was there."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    plugins = str(Path(sys.executable).parent)  # protoc finds its plugin, and the plugin finds ruff, on the PATH
    subprocess.run(
        [
            sys.executable, "-m", "grpc_tools.protoc", "-Iproto", f"--python_betterproto2_out={target.absolute()}",
            "--python_betterproto2_opt=server_generation=async,client_generation=none", "proto/tts.proto",
        ],
        cwd=ROOT, check=True, capture_output=True, env=os.environ | {"PATH": plugins + os.pathsep + os.environ["PATH"]},
    )  # fmt: skip


if __name__ == "__main__":
    generate(Path(sys.argv[1]))
