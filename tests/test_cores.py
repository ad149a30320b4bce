from __future__ import annotations

from typing import Any

import pytest

from moat_det.cli import main as cli
from moat_det.cli.command import COMMANDS, TRAINING
from moat_det.cores import SPINS, wait_briefly

VARIABLES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "what stands there before comes back")
        monkeypatch.delenv(name)


def waiting() -> list[str | None]:
    return [cli.os.environ.get(name) for name in VARIABLES]


@pytest.mark.parametrize("name", VARIABLES)
def test_how_threads_wait_is_the_users_choice(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "active")
    before = waiting()
    wait_briefly()
    assert waiting() == before


@pytest.mark.parametrize("name", sorted({*TRAINING, "detect", "val"}))
def test_trainings_wait_briefly(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Set before the command is loaded, and torch with it."""
    seen = []

    def load(*_: Any) -> None:
        seen.extend(waiting())
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load_command", load)
    cli.run(name, [])
    assert name in COMMANDS
    assert seen == ([str(SPINS), None] if name in TRAINING else [None, None])
