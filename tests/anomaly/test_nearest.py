"""Distances to the nearest, in whatever pieces they are computed."""

from __future__ import annotations

import torch

from moat_det.anomaly.distances import nearest_distances


def test_pieces_make_no_difference_and_memory_is_bounded() -> None:
    generator = torch.Generator().manual_seed(0)
    queries, points = torch.randn(257, 24, generator=generator), torch.randn(100, 24, generator=generator)
    whole = nearest_distances(queries, points)
    torch.testing.assert_close(whole, torch.cdist(queries, points).min(1).values)
    for rows in (1, 7, 300):
        torch.testing.assert_close(nearest_distances(queries, points, chunk_bytes=4 * 100 * rows), whole)
    assert len(nearest_distances(queries[:0], points)) == 0


def test_what_is_among_the_points_has_no_distance() -> None:
    points = torch.randn(200, 64, generator=torch.Generator().manual_seed(0)) + 100  # far from 0, where digits are few
    assert nearest_distances(points[50:60], points).tolist() == [0] * 10
