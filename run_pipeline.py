"""Entry point of the command line; see `python run_pipeline.py --help`."""

import sys

from pipelines.cli import main

if __name__ == "__main__":
    sys.exit(main())
