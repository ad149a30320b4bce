"""What feeds a training: workers, decoding at reduced scale, the cache on the disk, stand-ins for broken images."""
