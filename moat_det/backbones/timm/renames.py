"""How other projects name the weights of networks that timm has: a table for each family."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

_WRAPPERS = ("module.", "model.", "backbone.", "encoder.", "net.")


@dataclass(frozen=True)
class Family:
    """A project's names for networks of inverted bottlenecks (MobileNetV2, EfficientNet).

    Attributes:
        name: What it is called.
        sign: A name that tells it.
        block: Pattern of the names in blocks: the block, and what follows it.
        separable: Names in a block without expansion -> timm's.
        inverted: Those in a block with one.
        outside: Names outside the blocks -> timm's.
        same_padding: Whether the weights are for TensorFlow's padding, which timm's `tf_` networks alone have.
    """

    name: str
    sign: str
    block: str
    separable: Mapping[str, str]
    inverted: Mapping[str, str]
    outside: Mapping[str, str]
    same_padding: bool = False


FAMILIES = (
    Family(
        "efficientnet_pytorch",
        "_conv_stem.weight",
        r"_blocks\.(\d+)\.(.+)",
        {
            **{"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"},
            **{"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"},
        },
        {
            **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
            **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
            **{"_se_reduce": "se.conv_reduce", "_se_expand": "se.conv_expand"},
        },
        {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"},
        same_padding=True,
    ),
    Family(
        "torchvision's MobileNetV2",
        "features.1.conv.0.0.weight",
        r"features\.(\d+)\.conv\.(.+)",
        {"0.0": "conv_dw", "0.1": "bn1", "1": "conv_pw", "2": "bn2"},
        {"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2": "conv_pwl", "3": "bn3"},
        {
            **{"features.0.0": "conv_stem", "features.0.1": "bn1", "features.18.0": "conv_head"},
            **{"features.18.1": "bn2", "classifier.1": "classifier"},
        },
    ),
    Family(
        "torchvision's EfficientNet",
        "features.1.0.block.0.0.weight",
        r"features\.(\d+\.\d+)\.block\.(.+)",
        {
            **{"0.0": "conv_dw", "0.1": "bn1", "1.fc1": "se.conv_reduce", "1.fc2": "se.conv_expand"},
            **{"2.0": "conv_pw", "2.1": "bn2"},
        },
        {
            **{"0.0": "conv_pw", "0.1": "bn1", "1.0": "conv_dw", "1.1": "bn2", "2.fc1": "se.conv_reduce"},
            **{"2.fc2": "se.conv_expand", "3.0": "conv_pwl", "3.1": "bn3"},
        },
        {
            **{"features.0.0": "conv_stem", "features.0.1": "bn1", "features.8.0": "conv_head"},
            **{"features.8.1": "bn2", "classifier.1": "classifier"},
        },
    ),
)


def find_family(names: Iterable[str]) -> Family | None:
    """Give the family that a file's names are of; None if it is none of `FAMILIES`."""
    known = set(names)
    return next((family for family in FAMILIES if family.sign in known), None)


def rename(family: Family, names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Give timm's name for each name of a family; what it does not know keeps its own.

    Args:
        family: Of `FAMILIES`.
        names: Those of the file, in their order.
        own: Those of timm's network, in their order.
    """
    own = list(own)
    blocks = list(dict.fromkeys(found[0] for name in own if (found := re.match(r"blocks\.\d+\.\d+", name))))
    inverted = {block for block in blocks if f"{block}.conv_pwl.weight" in own}
    numbers: dict[str, int] = {}
    renamed = {}
    for name in names:
        path, _, leaf = name.rpartition(".")
        new = family.outside.get(path)
        if found := re.fullmatch(family.block, path):
            number = numbers.setdefault(found[1], len(numbers))
            if number < len(blocks):
                block = blocks[number]
                inner = (family.inverted if block in inverted else family.separable).get(found[2])
                new = inner and f"{block}.{inner}"
        renamed[name] = f"{new}.{leaf}" if new else name
    return renamed


def unwrap(names: Iterable[str], own: Iterable[str]) -> dict[str, str]:
    """Give each name without what wrappers put before all of them (`module.`), as long as that makes some known."""
    known, stripped = set(own), {name: name for name in names}
    for prefix in _WRAPPERS:
        if known.isdisjoint(stripped.values()) and any(new.startswith(prefix) for new in stripped.values()):
            stripped = {name: new.removeprefix(prefix) for name, new in stripped.items()}
    return stripped
