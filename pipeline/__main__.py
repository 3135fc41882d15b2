"""``python -m pipeline`` is ``organseg``."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
