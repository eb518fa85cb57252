"""A fixed share of a batch, for job arrays: the shares are disjoint, complete and the same on every machine."""

import os
import re
import zlib
from dataclasses import dataclass

from deblur_cli.errors import UsageError


@dataclass(frozen=True)
class Shard:
    """Number `index` (from 1) of `count` shares."""

    index: int
    count: int

    def takes(self, name: str) -> bool:
        """Whether a photo belongs to this share, by its name in the batch alone."""
        return zlib.crc32(os.fsencode(name)) % self.count == self.index - 1

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"


def parse_shard(text: str) -> Shard:
    """I/N -> Shard. UsageError unless 1 <= I <= N."""
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(0, 0)
    if not 1 <= shard.index <= shard.count:
        raise UsageError(
            f"--shard {text} is no share", hint="It takes I/N with I from 1 to N, such as --shard 2/8."
        )
    return shard
