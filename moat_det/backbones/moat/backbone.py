"""The MOAT backbone (arXiv 2210.01820; official `model/pixel_encoder/moat.py`)."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from moat_det.backbones.base import Backbone, FeatureInfo, GroupMatcher, per_band
from moat_det.backbones.moat.attention import Attention
from moat_det.backbones.moat.blocks import MBConv, MOATBlock, Stem
from moat_det.backbones.moat.initializers import KEEPS_VARIANCE, KERNELS, OFFICIAL
from moat_det.backbones.moat.variants import Variant
from moat_det.backbones.windows import POSITIONS, WindowSpec, map_size, stage_windows
from moat_det.errors import UserError

# The last layer of each residual branch: with small weights every block starts close to its shortcut.
_LAST_OF_BRANCH = ("shrink_conv", "attention.o")


class MOATBackbone(Backbone):
    """A stem, and stages of MBConv or MOAT blocks: in the released variants two of each.

    Args:
        variant: What the blocks are, and the input normalisation.
        window: Windows of the stages that attend (see `windows.stage_windows`).
        global_attention_at_end_of_stage: Let the last block of each attention stage attend over the whole
            map.
        pool_size: Kernel of the pooling in the shortcuts, 2 or 3.
        position_embedding: Whether attention has a relative position bias.
        num_classes: Width of a classification head; None for none.
        drop_path: Rate that grows from 0 at the first block by equal steps, and would be reached after the
            last.
        checkpoint_attention: Compute layer norm and attention anew in the backward pass, to save memory.
        in_channels: Bands of the input.

    Attributes:
        feature_info: The maps "stage1" (of the stem), "stage2" and so on; of reductions 2 to 32 in released variants.
        mean: Mean of each input band for images in [0, 1]; with other than 3 bands the mean over RGB for
            each.
        std: Standard deviation of each input band, likewise.
        variant: The variant that was built.
    """

    first_conv = "stem.conv_0"

    def __init__(
        self,
        variant: Variant,
        *,
        window: WindowSpec,
        global_attention_at_end_of_stage: bool,
        pool_size: int,
        position_embedding: bool,
        num_classes: int | None,
        drop_path: float,
        checkpoint_attention: bool,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.variant = variant
        self.global_attention_at_end_of_stage = global_attention_at_end_of_stage
        maps = zip((variant.stem[-1], *variant.channels), (2, *variant.reductions), strict=True)
        self.feature_info = [FeatureInfo(c, reduction, f"stage{i}") for i, (c, reduction) in enumerate(maps, 1)]
        self.mean = per_band(variant.mean, in_channels)
        self.std = per_band(variant.std, in_channels)

        self.stem = Stem(in_channels, variant.stem)
        self.stages = nn.ModuleList()
        cin, index, total = variant.stem[-1], 0, sum(variant.depths)
        for stage, (depth, channels) in enumerate(zip(variant.depths, variant.channels, strict=True)):
            blocks: list[nn.Module] = []
            for position in range(depth):
                common: dict[str, Any] = {
                    "stride": variant.strides[stage] if position == 0 else 1,
                    "pool_size": pool_size,
                    "drop_path": drop_path * index / total,
                    "expansion": variant.expansion,
                }
                if variant.block_types[stage] == "mbconv":
                    block: MBConv = MBConv(cin, channels, **common, se_ratio=variant.se_ratio)
                else:
                    block = MOATBlock(
                        cin,
                        channels,
                        **common,
                        head_size=variant.head_size,
                        norm_eps=variant.norm_eps,
                        position_range=variant.position_sizes[stage] if position_embedding else None,
                        checkpoint_attention=checkpoint_attention,
                    )
                blocks.append(block)
                cin, index = channels, index + 1
            self.stages.append(nn.Sequential(*blocks))
        self.set_windows(window)
        self.has_head = num_classes is not None
        if num_classes is not None:
            self.final_layer_norm = nn.LayerNorm(cin, eps=variant.norm_eps)
            self.logits_head = nn.Linear(cin, num_classes)
        self.reset_parameters()

    def set_windows(
        self, window: WindowSpec, *, trained_size: tuple[int, int] | None = None, position: str = "stretch"
    ) -> None:
        """Change how far attention reaches, as `Windowed` says.

        The last block of a stage keeps the whole map if it was built so.
        """
        attending = [kind == "moat" for kind in self.variant.block_types]
        reductions = [r if attends else None for r, attends in zip(self.variant.reductions, attending, strict=True)]
        windows = stage_windows(window, reductions, trained_size)
        if position not in POSITIONS:
            raise UserError(f'position {position!r}: give "stretch" or "clamp"')
        if position == "clamp" and trained_size is None:
            raise UserError(
                'position "clamp": the size of the images of the training is not known here; give "stretch", '
                "or a model that was trained"
            )
        for stage, stage_window, stride in zip(self.stages, windows, reductions, strict=True):
            if stride is None:
                continue
            attentions = [module for module in stage.modules() if isinstance(module, Attention)]
            for attention in attentions:
                attention.window = stage_window
                attention.reach = map_size(trained_size, stride) if trained_size and position == "clamp" else None
            if self.global_attention_at_end_of_stage:
                attentions[-1].window = None

    def group_matcher(self, coarse: bool = False) -> GroupMatcher:
        """Tell the stem and the blocks, or the stages, apart; a head is the last layer."""
        return {"stem": r"stem\.", "blocks": r"stages\.(\d+)\." if coarse else r"stages\.(\d+)\.(\d+)\."}

    def no_weight_decay(self) -> set[str]:
        """Name the position tables: one that decays forgets where things are."""
        return {name for name, _ in self.named_parameters() if name.endswith("relative_position_embedding")}

    def fold(self) -> None:
        """Fold the batch norms of the stem and the blocks; identities stand in their places."""
        for module in self.modules():
            if isinstance(module, (Stem, MBConv)):
                module.fold()

    def init_weights(self) -> None:
        """Draw the kernels so that each layer keeps the variance of its input (LeCun, normal, 1 / fan-in).

        The official normal(0, 0.02) is made for 300 epochs of ImageNet: the 1x1 shortcuts of the strided blocks shrink
        the stream tenfold a stage, and AdamW's first steps are as large as the weights. On NEU-DET the first epochs
        then go by without learning (`docs/results.md`). A variant that names its initializer keeps it.
        """
        if self.variant.kernel_init is not None:
            return
        for name, module in self.named_modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)) and not name.endswith(_LAST_OF_BRANCH):
                KERNELS[KEEPS_VARIANCE](module.weight)

    def reset_parameters(self) -> None:
        """Draw kernels and position tables as the variant says, set the biases, make norms the identity.

        The position tables, which are no kernels, keep the official normal(0, 0.02).
        """
        kernels = KERNELS[self.variant.kernel_init or OFFICIAL]
        norms = {m.bias for m in self.modules() if isinstance(m, (nn.BatchNorm2d, nn.LayerNorm))}
        for name, parameter in self.named_parameters():
            if name.endswith("relative_position_embedding"):
                KERNELS[OFFICIAL](parameter)
            elif parameter.ndim > 1:
                kernels(parameter)
            elif name.endswith("bias"):
                nn.init.constant_(parameter, 0.0 if parameter in norms else self.variant.bias_init)
            else:
                nn.init.ones_(parameter)

    def forward_features(self, x: Tensor, *, activated: bool = False) -> dict[str, Tensor]:
        """Compute the feature maps.

        Args:
            x: Normalised image, float (B, in_channels, H, W), of any H and W from 1 pixel on.
            activated: Add "res1" to "res5", the GELU of each stage.

        Returns:
            "stage1" and so on, each (B, channels, ceil(H / stride), ceil(W / stride)): the residual stream
            as it is after the stem and each stage, without a norm.
        """
        x = self.stem(x)
        maps = {"stage1": x}
        for number, stage in enumerate(self.stages, 2):
            x = stage(x)
            maps[f"stage{number}"] = x
        if activated:
            maps |= {name.replace("stage", "res"): F.gelu(x) for name, x in maps.items()}
        return maps

    def forward(self, x: Tensor) -> dict[str, Tensor] | Tensor:
        """Compute "stage1" to "stage5" as `forward_features` does; with a head, logits (B, num_classes)."""
        maps = self.forward_features(x)
        if not self.has_head:
            return maps
        return self.logits_head(self.final_layer_norm(maps[self.feature_info[-1].module].mean((2, 3))))
