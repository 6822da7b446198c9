"""What these tests are about is the parser."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def one_parser():
    """Every command builds its own."""
