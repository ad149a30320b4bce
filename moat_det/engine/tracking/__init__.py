"""Following defects from frame to frame: which tracker, which defects it found, and the files that say so."""
