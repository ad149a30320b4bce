"""Train a detector: python train.py --help."""

from moat_det.engine.cli import train

if __name__ == "__main__":
    train()
