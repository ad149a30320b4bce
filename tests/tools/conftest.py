"""The tool that a test file is of."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

import pytest


@pytest.fixture(scope="module")
def tool(request: pytest.FixtureRequest) -> ModuleType:
    """tools/NAME.py as a module, for tests/tools/test_NAME.py."""
    return import_module("tools." + request.module.__name__.rpartition(".")[2].removeprefix("test_"))
