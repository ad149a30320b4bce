from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torchvision.ops import box_convert, box_iou
from ultralytics.nn.modules.head import Detect
from ultralytics.utils.loss import v8DetectionLoss
from ultralytics.utils.tal import make_anchors

from moat_det.detector.build import build_model
from moat_det.detector.detector import Detector
from moat_det.detector.loss import DetectionLoss

STRIDES = (8, 16, 32)


def detector(**head: Any) -> Detector:
    torch.manual_seed(0)
    model = build_model({"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}, "head": head}, nc=2)
    assert isinstance(model, Detector)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
    return model


def raw_outputs(images: int, height: int, width: int, reg_max: int = 16) -> dict[str, Any]:
    """What a head gives in training, at random."""
    feats = [torch.zeros(images, 16, height // s, width // s) for s in STRIDES]
    points = sum(x[0, 0].numel() for x in feats)
    return {
        "boxes": 2 * torch.randn(images, 4 * reg_max, points),
        "scores": torch.randn(images, 2, points),
        "feats": feats,
    }


def one_box(height: int, width: int, box: tuple[float, float, float, float]) -> dict[str, Tensor]:
    """A batch of one image with one object, x1, y1, x2, y2 in pixels."""
    scaled = torch.tensor([box]) / torch.tensor([width, height, width, height])
    return {
        "batch_idx": torch.zeros(1),
        "cls": torch.zeros(1, 1),
        "bboxes": box_convert(scaled, "xyxy", "cxcywh"),
    }


@pytest.mark.parametrize("reg_max", [16, 8, 1])
def test_without_a_reach_it_is_the_engines_loss_to_the_bit(reg_max: int) -> None:
    model = detector(reg_max=reg_max)
    preds = raw_outputs(2, 64, 640, reg_max)
    boxes = torch.tensor(
        [[0.5, 0.5, 0.9, 0.1], [0.3, 0.4, 0.05, 0.3], [0.7, 0.5, 0.02, 0.02]]
    )  # the first out of reach
    batch = {"batch_idx": torch.tensor([0.0, 1.0, 1.0]), "cls": torch.tensor([[0.0], [1.0], [0.0]]), "bboxes": boxes}
    results = []
    for criterion in (v8DetectionLoss(model), model.init_criterion()):
        free = {**preds, "boxes": preds["boxes"].clone().requires_grad_()}
        loss, items = criterion(free, batch)
        loss.sum().backward()
        results.append((loss, items, free["boxes"].grad))
    (loss, items, gradient), (own_loss, own_items, own_gradient) = results
    assert loss[0] > 0
    assert loss[2] > 0
    assert torch.equal(own_loss, loss)
    assert own_items.keys() == items.keys()
    assert torch.equal(own_gradient, gradient)


def test_without_a_reach_boxes_are_the_engines_to_the_bit() -> None:
    head, preds = detector().head.eval(), raw_outputs(1, 64, 96)
    engine = Detect(2, 16, ch=(16, 16, 16)).eval()
    engine.stride = head.stride
    assert torch.equal(head._inference(preds), engine._inference(preds))


def test_a_box_of_a_hundred_strides_survives_the_way_there_and_back() -> None:
    """The bins of its distances as targets, a distribution that meets them, and the box of the loss and the head."""
    model = detector(reach=256)
    head, criterion = model.head.eval(), DetectionLoss(model)
    preds = raw_outputs(1, 64, 3264)
    points, strides = make_anchors(preds["feats"], head.stride)
    level = strides[:, 0] == 32
    box = torch.tensor([32.0, 10.0, 32.0 + 100 * 32, 22.0])
    distances = torch.cat((points - box[:2] / strides, box[2:] / strides - points), 1)
    bins = head.scale.to_bins(distances).clamp(0, 14.99)
    probability = (1 - (bins[..., None] - torch.arange(16.0)).abs()).clamp(min=1e-12)  # the two neighbours of each
    preds["boxes"] = probability.log().flatten(1).T[None]

    inside = level & (distances > 0).all(1)
    assert inside.sum() == 100
    loss_boxes = (criterion.bbox_decode(points, preds["boxes"].mT) * strides)[0, inside]
    head_boxes = box_convert(head._inference(preds)[0, :4, inside].T, "cxcywh", "xyxy")
    for boxes in (loss_boxes, head_boxes):
        size = boxes[:, 2:] - boxes[:, :2]
        assert torch.allclose(size[:, 0], torch.tensor(3200.0), rtol=1e-3)
        assert torch.allclose(size[:, 1], torch.tensor(12.0), rtol=1e-3)


@pytest.mark.parametrize(("reach", "reached"), [(256, True), (None, False)])
def test_only_with_a_reach_a_long_scratch_is_learnt_whole(reach: int | None, reached: bool) -> None:
    """800 x 24 px that no point of stride 32 lies in: 100 strides of 8, 50 of 16."""
    model = detector(reach=reach)
    height, width, box = 64, 1024, (100.0, 20.0, 900.0, 44.0)
    preds, batch = raw_outputs(1, height, width), one_box(height, width, box)
    start = torch.cat(
        [
            level[-1].bias.detach()[None].expand(x[0, 0].numel(), -1)
            for level, x in zip(model.head.cv2, preds["feats"], strict=True)
        ]
    )
    preds["boxes"] = start.T[None].clone().requires_grad_()
    preds["scores"] = torch.full_like(preds["scores"], -4.0).requires_grad_()
    criterion = model.init_criterion()
    optimizer = torch.optim.Adam([preds["boxes"], preds["scores"]], lr=0.1)
    for _ in range(200):
        optimizer.zero_grad()
        criterion(preds, batch)[0].sum().backward()
        optimizer.step()
    found = model.head.eval()._inference(preds).detach()[0]
    best = box_convert(found[:4, found[4].argmax()][None], "cxcywh", "xyxy")
    overlap = box_iou(best, torch.tensor([box])).item()
    assert (overlap > 0.95) == reached, overlap
    assert overlap > 0.25, "even the part within reach was not learnt"


@pytest.mark.parametrize("reach", [None, 64, 256, 2048])
def test_the_first_boxes_are_of_the_size_of_objects(reach: float | None) -> None:
    """Whatever the reach: boxes as long as it would overlap nothing, and the assigner find no candidate."""
    head = detector(reach=reach).head
    start = head.scale.to_strides(head.dfl(head.cv2[0][-1].bias.detach().view(1, -1, 1)))
    assert start.min() == start.max()
    assert 2 < start[0, 0, 0] <= 7.5 + 1e-5


def test_as_many_points_learn_an_object_as_the_configuration_says() -> None:
    """A lone object that covers 8 x 8 points of the finest map: `topk` of them learn it."""
    torch.manual_seed(0)
    preds = raw_outputs(1, 64, 64)
    counts = {}
    for topk in (3, 10, 1000):  # of 64 points in it and 84 in all
        config = {"backbone": "tiny_moat0", "neck": {"channels": [16, 16, 16]}, "assigner": {"topk": topk, "beta": 1}}
        model = build_model(config, nc=2)
        model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5)
        criterion = model.init_criterion()
        assert (criterion.assigner.alpha, criterion.assigner.beta) == (0.5, 1)
        masks: list[Tensor] = []
        criterion.assigner.register_forward_hook(lambda module, inputs, found, masks=masks: masks.append(found[3]))
        criterion(preds, one_box(64, 64, (0, 0, 64, 64)))
        counts[topk] = int(masks[0].sum())
    assert counts == {3: 3, 10: 10, 1000: 64 + 16 + 4}
