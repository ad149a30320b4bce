"""Okabe and Ito's colours, which the colour-blind can tell apart, without their black."""

from __future__ import annotations

ORANGE, SKY_BLUE, GREEN, YELLOW = "#E69F00", "#56B4E9", "#009E73", "#F0E442"
BLUE, VERMILLION, PURPLE = "#0072B2", "#D55E00", "#CC79A7"

BOX_COLOURS = (VERMILLION, SKY_BLUE, GREEN, YELLOW, PURPLE, ORANGE, BLUE)
"""Of boxes on a picture, those that stand out first."""

LINE_COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, SKY_BLUE, ORANGE)
"""Of lines and points on white, where yellow would not be seen."""
