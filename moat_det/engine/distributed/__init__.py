"""Training and validation in several processes, on one node or more, as `torchrun` starts them or we do."""
