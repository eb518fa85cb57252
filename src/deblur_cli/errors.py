"""The errors a user can meet. Each says what is wrong with which file or entry, and what to do about it.

Nothing is caught or printed here: `report` decides what an error means for the exit code.
"""


class DeblurError(Exception):
    """A failure that is explained to the user and never shown as a traceback.

    `hint` is what to do next, in lines that stand on their own; empty if the message says it all.
    """

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message


class UsageError(DeblurError):
    """A wrong option, value, command or name of weights."""


class PhotoError(DeblurError):
    """A photo that cannot be read, restored or written."""


class WeightsError(DeblurError):
    """Weights that are not installed, cannot be fetched or cannot be loaded."""
