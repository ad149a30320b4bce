"""`python -m moat_det`: the command `moat`."""

from moat_det.cli.main import main

if __name__ == "__main__":
    main()
