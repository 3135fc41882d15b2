"""``python -m organseg`` is ``organseg``, also where the working folder holds another module called ``pipeline``."""

from pipeline.cli import main

if __name__ == "__main__":
    main()
