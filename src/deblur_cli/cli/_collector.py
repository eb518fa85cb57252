"""Python's garbage collector, which else looks through all of torch again and again while that is imported."""

import gc

DEFAULT = gc.get_threshold()
WHILE_IMPORTING = 100_000
"""New objects between two collections."""


def spare() -> None:
    """Until `resume`, collect rarely."""
    gc.set_threshold(WHILE_IMPORTING)


def resume() -> None:
    """Collect as ever: a batch of ten thousand may make what must be collected."""
    gc.set_threshold(*DEFAULT)
