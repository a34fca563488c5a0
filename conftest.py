"""What the lessons' cells share when they run as tests (`make nbval`)."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A cell that has ended may take a minute to deliver its outputs.

    nbval waits five seconds from one message to the next, which was once too short in CI.
    """
    for item in items:
        if hasattr(item, "output_timeout"):
            item.output_timeout = 60
