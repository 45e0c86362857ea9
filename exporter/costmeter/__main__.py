"""`python -m costmeter`."""

import sys

from costmeter.cli import main

sys.exit(main())
