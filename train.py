"""Train a detector: python train.py --help."""

from moat_det.cli.main import train

if __name__ == "__main__":
    train()
