"""The height and width that images go through the model with, and where in it they lie."""
