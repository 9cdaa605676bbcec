"""``python -m robot_ctrl`` is ``robot-ctrl``."""

import sys

from robot_ctrl.cli import main

sys.exit(main())
