"""MOAT itself: variants, blocks, attention and its windows (arXiv 2210.01820)."""
