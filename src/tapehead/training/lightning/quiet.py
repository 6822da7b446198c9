"""Lightning without what it says of things that are as they should be here."""

from __future__ import annotations

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator

__all__ = ["quiet_lightning"]


class _Noise(logging.Filter):
    """Drops what Lightning says of hardware that is not there and of the checkpoint gone on from, and its tips."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not re.search(
            r"available: (True|False)|^.?.? ?Tip:|litlogger|`Trainer.fit` stopped|^Restor(ing|ed) ", record.getMessage()
        )


@contextlib.contextmanager
def quiet_lightning() -> Iterator[None]:
    """Turn off what Lightning says of data loaders and folders that are not what it thinks they are."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch.utilities.rank_zero", "lightning.pytorch")]
    noise = _Noise()
    with warnings.catch_warnings():
        for text in (
            ".*does not have many workers.*",
            ".*dataloader is not resumable.*",
            ".*Checkpoint directory .* exists and is not empty.*",
            ".*The dirpath has changed.*",
            ".*isinstance.treespec, LeafSpec.*",
            ".*sync_dist=True.*",  # every process validates on the same sequences
            ".*GPU available but not used.*",
        ):
            warnings.filterwarnings("ignore", text)
        for logger in loggers:
            logger.addFilter(noise)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(noise)
