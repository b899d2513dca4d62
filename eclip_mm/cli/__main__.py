"""``python -m eclip_mm.cli`` is ``eclip-mm``, without an installation."""

import sys

from eclip_mm.cli import main

sys.exit(main())
