"""`python -m consent_audit` is the command `consent-audit`."""

import sys

from consent_audit.cli import main

sys.exit(main())
