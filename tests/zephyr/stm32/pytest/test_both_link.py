"""The same with the binary link in place of AT commands."""

import test_both
from test_both import *  # noqa: F401, F403

test_both.PROTOCOL = "link"
