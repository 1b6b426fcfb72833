# SPDX-License-Identifier: BSD-3-Clause
"""Where things are: the checkout, its binaries, and what the guest tests keep between runs."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# The folder with shuntd and shuntctl; another one is tested with BUILD=folder.
BUILD = ROOT / os.environ.get("BUILD", "build")

# One guest image serves every build, so it does not live in BUILD.
CACHE = ROOT / "build" / "guest"
