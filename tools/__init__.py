"""What maintains the project: `python -m tools.NAME --help`."""
