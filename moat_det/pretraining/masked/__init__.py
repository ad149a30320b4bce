"""Masked-image modelling: a backbone learns from pictures without labels to see what is hidden from it.

`pictures` finds them and `crops` cuts them, with `masks` over them; `model` shows the backbone what is left and
compares what it predicts; `reconstructions` draws that; `task` tells the loop of it, and `pretrain` does it all.
"""
