"""``python -m retuned``."""

import sys

from retuned.cli import main

if __name__ == "__main__":
    sys.exit(main())
