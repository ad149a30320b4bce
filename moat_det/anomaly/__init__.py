"""Heat maps from good parts alone: how far each place of an image is from what good parts look like (PatchCore)."""
