"""``python -m rtvp``: the command line, for torchrun as well."""

import sys

from rtvp.cli import main

if __name__ == "__main__":
    sys.exit(main())
