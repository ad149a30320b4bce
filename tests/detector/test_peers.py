"""The engine's own models behind the same face as ours."""

from __future__ import annotations

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from moat_det.detector.build import build_model, find_config, with_window
from moat_det.detector.peers import Peer
from moat_det.errors import UserError


@pytest.fixture(scope="module")
def peer() -> Peer:
    torch.manual_seed(0)
    model = build_model(find_config("yolo11n.yaml"), 3).eval()
    assert isinstance(model, Peer)
    return model


@pytest.mark.parametrize("augment", [False, True])
def test_bytes_are_what_the_engine_feeds(peer: Peer, augment: bool) -> None:
    images = torch.randint(0, 256, (2, 64, 96, 3), dtype=torch.uint8).permute(0, 3, 1, 2)  # as decoded images lie
    numbers = images.contiguous().float().div_(255)
    with torch.no_grad():
        assert torch.equal(peer(images, augment=augment)[0], peer(numbers, augment=augment)[0])
    assert images.dtype == torch.uint8


def test_it_is_the_engines_model_tensor_by_tensor(peer: Peer) -> None:
    torch.manual_seed(0)
    original = DetectionModel("yolo11n.yaml", nc=3, verbose=False)
    own, theirs = peer.state_dict(), original.state_dict()
    assert list(own) == list(theirs)
    assert all(torch.equal(own[name], theirs[name]) for name in own)


def test_what_our_models_have_it_has_not(peer: Peer) -> None:
    assert peer.backbone is None
    assert peer.windowed is None
    assert peer.first_kernel is None
    assert peer.engine_recipe
    assert peer.parts[:3] == ["0", "1", "2"]
    biases = [level[-1].bias.clone() for level in peer.model[-1].cv3]
    peer.initialize_prior((4096, 4096))
    assert all(torch.equal(level[-1].bias, bias) for level, bias in zip(peer.model[-1].cv3, biases, strict=True))
    peer.prepare(torch.device("cpu"))
    assert peer.dtype == torch.float32
    with pytest.raises(UserError, match="--window"):
        with_window(peer.yaml, "auto")
