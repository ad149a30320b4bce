"""What feeds a training: workers, images at reduced scale, their caches, stand-ins for broken ones."""
