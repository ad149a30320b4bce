"""Training of a backbone alone: as a classifier, or from images without labels. Its checkpoints start detectors."""
