"""Two nodes that meet by torchrun's rendezvous, both on this machine."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import torch

from moat_det.engine.checkpoint import load_checkpoint

REPO = Path(__file__).parents[3]
LONGEST = 300  # seconds; a node waits for the other for ten minutes
SMALL = ["--epochs", "1", "--imgsz", "64", "--batch", "8", "--plots", "false", "--workers", "0", "--sync-bn"]


def begin(*words: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def finish(*started: subprocess.Popen[str]) -> list[str]:
    """Wait for all, which must end well: what each said."""
    try:
        said = [process.communicate(timeout=LONGEST)[0] for process in started]
    finally:
        for process in started:
            process.kill()
    assert [process.returncode for process in started] == [0] * len(started), "\n".join(said)
    return said


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def test_two_nodes_leave_what_two_processes_of_one_leave(demo: Path, model_yaml: Path, tmp_path: Path) -> None:
    words = ["--data", str(demo), "--model", str(model_yaml), "--project", str(tmp_path), *SMALL]
    meet = ["--nnodes", 2, "--nproc-per-node", 1, "--rdzv-backend", "c10d", "--rdzv-endpoint"]
    node = ["torch.distributed.run", *meet, f"localhost:{free_port()}", "--local-addr", "localhost"]
    nodes = [begin(*node, REPO / "train.py", *words, "--device", "cpu", "--name", "nodes") for _ in range(2)]
    said = "".join(finish(*nodes))
    assert said.count("Results in") == 1, "one log"
    finish(begin("moat_det", "train", *words, "--device", "cpu,cpu", "--name", "one"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nodes", "one"], "one folder for both nodes"
    two, one = (load_checkpoint(tmp_path / name / "weights" / "last.pt").weights for name in ("nodes", "one"))
    assert two.keys() == one.keys()
    assert all(torch.equal(tensor, one[name]) for name, tensor in two.items())
