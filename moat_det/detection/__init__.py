"""What all detection reads and writes, whether the engine detects or the runtime: sources, thresholds, names, files.

Needs neither torch nor the engine.
"""
