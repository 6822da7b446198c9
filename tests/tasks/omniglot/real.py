"""Where the real Omniglot is, if it is here: TAPEHEAD_OMNIGLOT, or ../shared/omniglot beside the checkout."""

import os
from pathlib import Path

__all__ = ["COPY"]

COPY = Path(os.environ.get("TAPEHEAD_OMNIGLOT") or Path(__file__).parents[4] / "shared" / "omniglot")
