"""Small images first: the size of training images that grows over the first half of a training."""

from __future__ import annotations

from moat_det.data.sizes.shape import Shape, round_up


def progressive_shape(shape: Shape, start: float, epoch: int, epochs: int, stride: int) -> Shape:
    """Give the size of a batch's images in an epoch; from the middle of the training on it is their own.

    It depends on the epoch alone, so that a resumed training goes on as it would have.

    Args:
        shape: Height and width of the images, multiples of the stride.
        start: Share of them in the first epoch, above 0 and at most 1.
        epoch: From 0.
        epochs: Of the training.
        stride: The model's largest.

    Returns:
        Multiples of the stride.

    Source:
        Howard: Training Imagenet in 3 hours for 25 minutes, 2018 (progressive resizing); Tan and Le: EfficientNetV2,
        arXiv 2104.00298.
    """
    growing = epochs // 2
    if epoch >= growing or start == 1:
        return shape
    share = start + (1 - start) * epoch / growing
    return round_up((shape[0] * share, shape[1] * share), stride)
