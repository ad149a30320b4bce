"""Datasets: what a YAML names, the labels and the images it leads to, and their way to the engine."""
