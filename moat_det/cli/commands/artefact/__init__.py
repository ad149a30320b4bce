"""`moat detect` and `moat val` with what `moat export` wrote: they import neither torch nor the engine."""
