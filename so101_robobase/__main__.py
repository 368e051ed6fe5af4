"""`python -m so101_robobase`: the same command line as the console script."""

import sys

from so101_robobase.base.cli import main

sys.exit(main())
