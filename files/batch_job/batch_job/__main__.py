"""Entry point of `python -m batch_job` and of the self-contained file."""

import sys

from batch_job.cli import main

sys.exit(main())
