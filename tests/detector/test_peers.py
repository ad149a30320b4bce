"""The engine's own models behind the same face as ours."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from ultralytics.nn.tasks import DetectionModel

from moat_det.detector.base import BaseDetector
from moat_det.detector.build import build_model, find_config, with_window
from moat_det.detector.nms import read_output
from moat_det.detector.peers import Peer
from moat_det.engine.exporting import export_checkpoint
from moat_det.engine.trained import Trained
from moat_det.errors import UserError
from moat_det.export import ExportOptions


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
    peer.initialize_prior((4096, 4096), [1.0] * 3)
    assert all(torch.equal(level[-1].bias, bias) for level, bias in zip(peer.model[-1].cv3, biases, strict=True))
    peer.prepare(torch.device("cpu"))
    assert peer.dtype == torch.float32
    with pytest.raises(UserError, match="--window"):
        with_window(peer.yaml, "auto")


@pytest.fixture(scope="module")
def transformer() -> BaseDetector:
    torch.manual_seed(0)
    return build_model(find_config("rtdetr-l.yaml"), 3)


def test_a_transformer_detects_as_a_dense_head_does(transformer: BaseDetector) -> None:
    """Each query that its decoder chose is a column: the box in pixels of the image, the score at its class alone."""
    transformer.eval()
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    with torch.no_grad():
        predictions, level_sizes = read_output(output := transformer(images))
        chosen = transformer.model[-1].postprocess(output[1][0].squeeze(0), output[1][1].squeeze(0).sigmoid())
    assert level_sizes is None
    assert predictions.shape == (2, 4 + 3, chosen.shape[1])
    assert torch.equal(predictions[:, :4].transpose(1, 2), chosen[..., :4] * torch.tensor([96.0, 64.0, 96.0, 64.0]))
    score, label = predictions[:, 4:].max(1)
    assert torch.equal(score, chosen[..., 4])
    assert torch.equal(label, chosen[..., 5].long())
    assert ((predictions[:, 4:] > 0).sum(1) == 1).all()


def test_a_transformer_has_losses_of_its_own_in_training_and_validation(transformer: BaseDetector) -> None:
    batch = {
        "img": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [2.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.2], [0.3, 0.3, 0.2, 0.2]]),
    }
    total, losses = transformer.train()(batch)
    assert total.requires_grad
    assert set(losses) == {"giou_loss", "cls_loss", "l1_loss"}
    transformer.eval()
    with torch.no_grad():
        raw = transformer(batch["img"])
        assert set(transformer.loss(batch, raw)[1]) == set(losses)


def test_a_transformer_is_not_exported(transformer: BaseDetector, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--weights .*best\.pt: an RT-DETR cannot be exported"):
        export_checkpoint(transformer, Trained(), tmp_path / "best.pt", ExportOptions())
    assert not list(tmp_path.iterdir())
