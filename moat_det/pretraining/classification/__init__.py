"""A backbone as a classifier of whole pictures: its data, its training, what it is worth, and what it says."""
