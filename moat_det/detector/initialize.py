"""Initial weights for a detector that starts without ImageNet's."""

from __future__ import annotations

from torch import nn

# The last layer of each residual branch keeps the official small weights: every block starts close to its shortcut.
_LAST_OF_BRANCH = ("shrink_conv", "attention.o")


def initialize_backbone(backbone: nn.Module) -> None:
    """Draw the backbone's kernels so that each layer keeps the variance of its input (LeCun, normal, 1 / fan-in).

    The official normal(0, 0.02) is made for 300 epochs of ImageNet: the 1x1 shortcuts of the strided blocks shrink the
    stream tenfold a stage, and AdamW's first steps are as large as the weights. On NEU-DET the first epochs then go by
    without learning (`docs/results.md`).

    Args:
        backbone: Changed in place.
    """
    for name, module in backbone.named_modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)) and not name.endswith(_LAST_OF_BRANCH):
            nn.init.normal_(module.weight, std=module.weight[0].numel() ** -0.5)
