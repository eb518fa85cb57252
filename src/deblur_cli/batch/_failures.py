"""What goes wrong with one photo, as the failure of that photo; and what would go wrong with every other one too."""

import errno

from deblur_cli.errors import DeblurError, PhotoError
from deblur_cli.jobs import Job


class DiskFullError(PhotoError):
    """The disk is full: every other photo would fail too."""


def explained(job: Job, error: Exception) -> PhotoError:
    """An exception as the failure of a photo; raised again if it would fail every other photo too."""
    if is_full(error):
        return disk_full(
            error.message
            if isinstance(error, PhotoError)
            else f"{job.target or 'standard output'}: the disk is full"
        )
    if isinstance(error, PhotoError):
        return error
    if isinstance(error, DeblurError):
        raise error
    if isinstance(error, MemoryError) or "can't allocate memory" in str(
        error
    ):  # as torch's CPU allocator says it
        return PhotoError(f"{job.name}: not enough memory", hint="Try a smaller --tile, such as 256.")
    if isinstance(error, OSError):
        return PhotoError(f"{job.target or 'standard output'}: cannot be written: {error.strerror}")
    return PhotoError(
        f"{job.name}: failed unexpectedly: {type(error).__name__}: {error}",
        hint="This is a fault in deblur, or in a library: please report it, with the photo if you can.",
    )


def is_full(error: BaseException | None) -> bool:
    """Whether an error comes from a disk, or a user's share of it, that is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__
    return False


def disk_full(message: str) -> DiskFullError:
    """The error that says what to do about it."""
    return DiskFullError(
        message, hint="Free some space and run the same command again: what is done stays done."
    )
