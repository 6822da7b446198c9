"""A whole Omniglot in memory, in place of the real one."""

import pytest

from tapehead.tasks.omniglot import task
from tests.tasks.omniglot import synthetic


@pytest.fixture(scope="session")
def _signed():
    return synthetic.signed()


@pytest.fixture
def signed(monkeypatch, _signed):
    """What every task reads: `synthetic.signed`."""
    monkeypatch.setattr(task, "load", lambda data, cache: _signed)
    return _signed
