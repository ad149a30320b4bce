from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn

from moat_det.detector.build import build_model, find_config
from moat_det.detector.detector import Detector, InputNormalization
from moat_det.paths import cfg_dir

MODELS = ["tiny_moat0", "tiny_moat1", "tiny_moat2", "tiny_moat3", "moat0"]
LEVELS = [str(cfg_dir() / f"tiny_moat0-{name}.yaml") for name in ("p2", "p6")]


def trained(config: str) -> Detector:
    """A detector whose norms and biases are as far from their initial values as training takes them."""
    torch.manual_seed(0)
    model = build_model(find_config(config), nc=3).eval()
    assert isinstance(model, Detector)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                module.running_mean.normal_(0, 0.5)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(0, 0.5)
            elif isinstance(module, nn.Conv2d) and module.bias is not None:
                module.bias.add_(torch.randn_like(module.bias) * 0.1)
    return model


def difference(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize("config", [*MODELS, *LEVELS])
def test_the_folded_model_is_the_same_function(config: str) -> None:
    model = trained(config)
    folded = deepcopy(model).fuse(verbose=False)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert folded.is_fused()
    assert not model.is_fused()
    images = torch.rand(2, 3, 64, 128)
    with torch.no_grad():
        for found, expected in zip(folded.model[:3](images), model.model[:3](images), strict=True):
            assert difference(found, expected) < 1e-4
        (found, _), (expected, _) = folded(images), model(images)
    for rows in (slice(0, 4), slice(4, None)):  # boxes in pixels, scores
        assert difference(found[:, rows], expected[:, rows]) < 1e-4


def test_what_differs_is_rounding_alone() -> None:
    model = trained("tiny_moat0").double()
    images = torch.rand(1, 3, 96, 64, dtype=torch.float64)
    with torch.no_grad():
        expected = model.model[1](images)
        found = model.fuse(verbose=False).model[1](images)
    assert max(difference(found[name], expected[name]) for name in expected) < 1e-12


def test_folding_twice_is_folding_once() -> None:
    model = trained("tiny_moat0").fuse(verbose=False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    after = model.fuse(verbose=False).state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_folded_model_does_not_train() -> None:
    model = trained("tiny_moat0").fuse(verbose=False)
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_folding_keeps_the_number_format_and_the_layout() -> None:
    model = trained("tiny_moat0")
    model.prepare(torch.device("cpu"))
    folded = model.fuse(verbose=False)
    convolutions = [module for module in folded.modules() if isinstance(module, nn.Conv2d)]
    assert {module.weight.dtype for module in convolutions} == {torch.float32}
    assert all(module.weight.is_contiguous(memory_format=torch.channels_last) for module in convolutions)
    with torch.no_grad():
        assert folded(torch.rand(1, 3, 64, 64))[0].dtype == torch.float32


def test_bytes_and_numbers_from_0_to_1_are_the_same_image() -> None:
    model = trained("tiny_moat0")
    image = torch.randint(0, 256, (1, 3, 64, 96), dtype=torch.uint8)
    kept = image.clone()
    with torch.no_grad():
        found, expected = model(image)[0], model(image / 255)[0]
        model.dtype = torch.bfloat16
        reduced = model(image)[0], model(image / 255)[0]
    assert torch.equal(image, kept)
    assert difference(found, expected) < 1e-4
    assert difference(*reduced) < 2e-2
    assert not torch.equal(reduced[0], found), "bytes were not computed in bfloat16"


def test_normalising_does_not_touch_the_callers_image() -> None:
    normalize = InputNormalization((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    image = torch.rand(1, 3, 4, 4)
    kept = image.clone()
    normalize(image)
    assert torch.equal(image, kept)
