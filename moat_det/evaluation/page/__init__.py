"""The report of a validation: one HTML page made of the files in its folder, and of its pictures."""
