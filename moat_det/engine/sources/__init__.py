"""What detection reads: files, cameras, images in memory, and batches of one shape."""
