"""What detection reads: files, images in memory, and batches of one shape; the engine opens cameras and streams."""
