"""Image files: finding them, their headers, reading them, and how their samples become the model's input."""
