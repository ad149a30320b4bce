"""Pass or reject: the figures of an inspection, in parts instead of boxes, each with limits. Needs no torch."""
