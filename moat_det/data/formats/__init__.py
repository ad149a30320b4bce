"""Annotation formats, each read and written in one place. Needs neither torch nor the engine."""
