"""What a backbone is asked about hidden patches."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch
from torch import Tensor

from moat_det.backbones import create_backbone
from moat_det.errors import UserError
from moat_det.pretraining.masked.model import STRIDES, MaskedModel, hide, losses, spread, targets
from moat_det.pretraining.masked.reconstructions import draw_reconstructions

SMALL = {"depths": (1, 1, 1, 1), "channels": (8, 8, 32, 32), "stem": (8, 8)}


@pytest.fixture(scope="module")
def model() -> MaskedModel:
    torch.manual_seed(0)
    return MaskedModel(create_backbone("tiny_moat0", **SMALL), 3)


def pictures() -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)
    masks = torch.rand(2, 2, 3) < 0.5
    masks[:, 0, 0], masks[:, 1, 1] = True, False
    return images, masks


def test_each_map_predicts_the_whole_picture(model: MaskedModel) -> None:
    images, masks = pictures()
    predictions = model(images, masks)
    assert [each.shape for each in predictions] == [images.shape] * len(STRIDES)


def test_what_is_hidden_does_not_reach_the_model(model: MaskedModel) -> None:
    images, masks = pictures()
    others = torch.where(spread(masks)[:, None], 255 - images, images)
    model.eval()
    for one, other in zip(model(images, masks), model(others, masks), strict=True):
        assert torch.equal(one, other)
    others = torch.where(spread(masks)[:, None], images, 255 - images)
    assert not torch.equal(model(images, masks)[0], model(others, masks)[0])


def test_hidden_patches_have_the_mean_of_what_is_left() -> None:
    images, masks = pictures()
    shown, hidden = hide(images, masks), spread(masks)
    for image, part, mask in zip(images, shown, hidden, strict=True):
        for band in range(3):
            left = image[band][~mask].float() / 255
            assert torch.allclose(part[band][mask], left.mean())
            assert torch.equal(part[band][~mask], left)


def test_targets_do_not_depend_on_brightness_and_contrast() -> None:
    images = torch.randint(0, 64, (1, 1, 64, 64), dtype=torch.uint8)
    wanted, mean, deviation = targets(images)
    assert torch.allclose(targets(images * 3 + 50)[0], wanted, atol=1e-2)
    assert torch.allclose(wanted * deviation + mean, images / 255, atol=1e-6)
    assert targets(torch.full_like(images, 200))[0].abs().max() < 1e-3


def test_the_loss_looks_at_hidden_pixels_alone() -> None:
    images, masks = pictures()
    wanted = targets(images)[0]
    wrong = torch.where(spread(masks)[:, None], wanted, wanted + 7)
    assert losses([wanted, wrong], images, masks).tolist() == [0, 0]
    assert losses([wanted + 0.5], images, masks).item() == pytest.approx(0.5)


def test_every_map_of_the_backbone_is_trained(model: MaskedModel) -> None:
    images, masks = pictures()
    model.train()
    for level in range(len(STRIDES)):
        model.zero_grad()
        losses(model(images, masks), images, masks)[level].backward()
        assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())


def test_it_learns_to_go_on_where_something_is_hidden() -> None:
    torch.manual_seed(0)
    model = MaskedModel(create_backbone("tiny_moat0", in_channels=1, **SMALL), 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    # Each column of patches has a gray of its own, which those that are seen tell.
    images = torch.randint(0, 256, (8, 1, 1, 3)).repeat_interleave(32, 3).expand(-1, -1, 96, -1).byte()
    masks = torch.eye(3, dtype=torch.bool).expand(8, -1, -1)
    flat = losses([torch.zeros(images.shape)], images, masks)
    for _ in range(30):
        loss = losses(model(images, masks), images, masks)
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
    near, *far = (loss / flat).tolist()
    assert near < 1  # its cells see little more than the edge of a patch
    assert max(far) < 0.6


def test_a_backbone_without_one_of_the_maps_is_refused() -> None:
    backbone = create_backbone("tiny_moat0")
    backbone.feature_info = backbone.feature_info[:-1]
    with pytest.raises(UserError, match="no map of stride 32"):
        MaskedModel(backbone, 3)


def test_a_sheet_shows_pictures_what_is_seen_of_them_and_predictions(model: MaskedModel, tmp_path: Path) -> None:
    images, masks = pictures()
    model.train()
    draw_reconstructions(model, images, masks, tmp_path / "sheet.png")
    assert model.training
    drawn = torch.from_numpy(cv2.imread(str(tmp_path / "sheet.png"))[..., ::-1].copy()).permute(2, 0, 1)
    assert drawn.shape == (3, 2 * 64 + 6, 5 * 96 + 4 * 6)
    assert torch.equal(drawn[:, :64, :96], images[0])
    hidden = spread(masks)[0]
    assert torch.equal(drawn[:, :64, 102:198][:, ~hidden], images[0][:, ~hidden])
    assert not torch.equal(drawn[:, :64, 204:300][:, hidden], images[0][:, hidden])


def test_a_sheet_of_bands_shows_the_first_three(tmp_path: Path) -> None:
    _, masks = pictures()
    images = (10 * torch.arange(5, dtype=torch.uint8))[:, None, None].expand(len(masks), 5, 64, 96)
    five = MaskedModel(create_backbone("tiny_moat0", in_channels=5), 5)
    draw_reconstructions(five, images, masks, tmp_path / "sheet.png")
    assert cv2.imread(str(tmp_path / "sheet.png"))[0, 0].tolist() == [20, 10, 0]
