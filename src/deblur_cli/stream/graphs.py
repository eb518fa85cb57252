"""CUDA graphs: what a run launches on a card, recorded once and replayed for every further photo or tile of that size.

A card that is faster than Python waits for launches; a replay is one. Nothing is recorded for a photo alone, or where the card is the slower
of both. Recordings hold the memory of a run until they are given up. Where none can be made, or one gives anything but what the launches
gave, runs go on as on any device. Graphs and their runs are on the current device.
"""

import time
from collections import Counter
from collections.abc import Callable, Hashable
from threading import Lock

import torch
from torch import Tensor

from deblur_cli.kernels import card

USES = 2
"""Runs of one size in which the card waited; the next one is recorded. (In the first it always seems so: memory is fetched, programs are compiled.)"""

WAITED = 0.9
"""A card that is done when this share of a run's time went into launching was waiting for launches."""

ROOM = 0.75
"""Of the card's memory, what recordings leave: so the tile still fits that is chosen by what is free, where they are counted as free."""

Tell = Callable[[float], None]
Run = Callable[[Tensor, Tell], Tensor]
"""A photo, and who is told how much of it is done -> its result."""


class Graphs:
    """The recordings of one function, by size. Several threads may run it."""

    def __init__(self) -> None:
        self._waits = Counter[Hashable]()
        self.recorded: dict[Hashable, Recording] = {}
        self._lock = Lock()  # a recording has one place for its photo, and one for its result
        self._off = not card.allowed()

    def run(self, function: Run, photo: Tensor, key: Hashable, constants: object, tell: Tell) -> Tensor:
        """function(photo, tell) on the photo's card. Its result depends on the photo's numbers, the key, and constants, which are kept with a recording."""
        with self._lock:
            if recording := self.recorded.get(key):
                return recording(photo)
        start = time.perf_counter()
        result = function(photo, tell)
        launched = time.perf_counter()
        torch.cuda.synchronize()
        waited = launched - start > WAITED * (time.perf_counter() - start)
        with self._lock:
            if self._waits[key] >= USES and not self._off and key not in self.recorded:
                self._record(function, photo, result, key, constants)
            self._waits[key] += waited
        return result

    def give_up(self) -> bool:
        """All recordings, for good, and whether there were any. Their memory is free then."""
        with self._lock:
            had = bool(self.recorded)
            self.recorded.clear()
            self._off = True
        if had:
            torch.cuda.empty_cache()
        return had

    def _record(self, function: Run, photo: Tensor, result: Tensor, key: Hashable, constants: object) -> None:
        """For photos to come, if the recording gives this result, again after other photos, and leaves room. If not, nothing is recorded any more."""
        try:
            recording = Recording(function, photo, constants)
            recording(torch.zeros_like(photo))
            right = torch.equal(recording(photo), result)
        except RuntimeError:  # of memory, too
            right = False
        free, total = torch.cuda.mem_get_info()
        if right and free >= ROOM * total:
            self.recorded[key] = recording
        else:
            self._off = True


class Recording:
    """The launches of one run, with all the memory that they use."""

    def __init__(self, function: Run, photo: Tensor, constants: object) -> None:
        with torch.inference_mode(mode=False):  # where a tensor could not be written to later
            self._photo = photo.clone()
        self._graph, self._done, self._constants = torch.cuda.CUDAGraph(), torch.cuda.Event(), constants
        stream = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph, stream=torch.cuda.Stream(), capture_error_mode="thread_local"):
                self._result = function(self._photo, lambda _: None)
        finally:
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own

    def __call__(self, photo: Tensor) -> Tensor:
        """The result of the function, for another photo."""
        self._done.wait()  # for the run before, which may be on the stream of another thread
        self._photo.copy_(photo)
        self._graph.replay()
        result = self._result.clone()
        self._done.record()
        return result
