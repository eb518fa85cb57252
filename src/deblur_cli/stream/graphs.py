"""CUDA graphs: what a run launches on a card, recorded once and replayed for every further photo or tile of that size.

A card that is faster than Python waits for launches; a replay is one. Nothing is recorded for a photo alone, or where the card is the slower
of both. Recordings hold the memory of a run, and give it up when it is short; where none can be made, a run goes as on any device.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

USES = 2
"""Runs of one size in which the card waited; the next one is recorded. (In the first it always seems so: memory is fetched, programs are compiled.)"""

WAITED = 0.9
"""A card that is done when this share of a run's time went into launching was waiting for launches."""

ROOM = 0.5
"""Of the card's memory, what recordings leave."""

Run = Callable[[Tensor], Tensor]


class Graphs:
    """The recordings of one function, by size."""

    def __init__(self) -> None:
        self._waits = Counter[Hashable]()
        self._recordings: dict[Hashable, Recording] = {}
        self._off = False

    def run(self, function: Run, photo: Tensor, key: Hashable, constants: object) -> Tensor:
        """function(photo) on the photo's card. The function depends on the photo's numbers, the key, and constants, which are kept with a recording."""
        with torch.cuda.device(photo.device):
            if key not in self._recordings and self._waits[key] >= USES and not self._off:
                self._record(function, photo, key, constants)
            if key in self._recordings:
                return self._recordings[key](photo)
            try:
                return self._watched(function, photo, key)
            except torch.OutOfMemoryError:
                if not self._recordings:
                    raise
            self._give_up()  # not in the handler, whose traceback holds the tensors of the run
            return function(photo)

    def _watched(self, function: Run, photo: Tensor, key: Hashable) -> Tensor:
        """A plain run, after which it is noted whether the card had waited."""
        start = time.perf_counter()
        result = function(photo)
        launched = time.perf_counter()
        torch.cuda.synchronize()
        self._waits[key] += launched - start > WAITED * (time.perf_counter() - start)
        return result

    def _record(self, function: Run, photo: Tensor, key: Hashable, constants: object) -> None:
        try:
            self._recordings[key] = Recording(function, photo, constants)
        except RuntimeError:  # of memory, too
            self._off = True
            return
        free, total = torch.cuda.mem_get_info()
        if free < ROOM * total:
            self._give_up()

    def _give_up(self) -> None:
        """All recordings and their memory, for good."""
        self._recordings.clear()
        self._off = True
        torch.cuda.empty_cache()


class Recording:
    """The launches of one run, with all the memory that they use."""

    def __init__(self, function: Run, photo: Tensor, constants: object) -> None:
        self._graph, self._photo, self._constants = torch.cuda.CUDAGraph(), photo.clone(), constants
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(
                self._graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"
            ):
                self._result = function(self._photo)
        finally:
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own

    def __call__(self, photo: Tensor) -> Tensor:
        """The result of the function, for another photo."""
        self._photo.copy_(photo)
        self._graph.replay()
        return self._result.clone()
