"""Backbones of the package timm, by its names: `timm/mobilevit_xs`. It is imported when one is asked for."""

from __future__ import annotations

import os

# timm's weights lie on a server that nothing here asks.
os.environ["HF_HUB_OFFLINE"] = "1"
