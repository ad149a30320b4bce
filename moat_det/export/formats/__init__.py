"""A module for each format, with `write(model, example, file, dynamic, precision, calibration) -> None`."""
