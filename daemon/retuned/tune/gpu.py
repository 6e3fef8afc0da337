"""What a process uses of NVIDIA's graphics processors, as their driver tells (NVML).

Needs the extra ``gpu`` and a driver; without either nothing is measured, and nothing is started.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from retuned_pipelines.search.trial import GpuUse

if TYPE_CHECKING:
    from collections.abc import Iterator

EVERY_S = 0.2
"""Between two looks, each of which takes well below a millisecond."""

_DRIVER = Path("/dev/nvidiactl")
_MEGABYTE = 1_000_000
_WHOLE = 100.0


class Nvml(Protocol):
    """The part of the module ``pynvml`` that is used. Any of it may raise ``NVMLError``."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None:  # noqa: N802 (the library's names)
        """Begin."""

    def nvmlShutdown(self) -> None:  # noqa: N802
        """End."""

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        """Count the devices."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:  # noqa: ANN401, N802
        """One device."""

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:  # noqa: ANN401, N802
        """Percent of the time in which it computed, as ``gpu``."""

    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any:  # noqa: ANN401, N802
        """Bytes that are ``used``, by everybody."""

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any:  # noqa: ANN401, N802
        """Processes: ``pid`` and ``usedGpuMemory``, which is None where it is not told."""


def nvml() -> Nvml | None:
    """The library, where there is a driver and it is installed."""
    if not _DRIVER.exists():
        return None
    with contextlib.suppress(ImportError):
        return cast("Nvml", importlib.import_module("pynvml"))
    return None


@dataclass(slots=True)
class Watched:
    """What was seen so far."""

    shares: list[float] = field(default_factory=list)
    own_bytes: int = 0
    all_bytes: int = 0
    is_own_told: bool = False

    def use(self) -> GpuUse | None:
        """What was used; None where nothing could be seen.

        In a container the driver's process numbers may be those of its host. So where it does not
        name this process, everybody's memory is told, and said to be that.
        """
        if not self.shares:
            return None
        peak = self.own_bytes if self.is_own_told else self.all_bytes
        return GpuUse(
            share=sum(self.shares) / len(self.shares),
            peak_mb=peak / _MEGABYTE,
            is_device_wide=not self.is_own_told,
        )


@contextmanager
def watched(library: Nvml | None, pid: int | None = None) -> Iterator[Watched]:
    """Look every now and then, on a thread, at what a process uses of the devices.

    Args:
        library: None for no look at all.
        pid: whose memory; this process's by default.
    """
    found = Watched()
    if library is None:
        yield found
        return
    stop, own = threading.Event(), os.getpid() if pid is None else pid
    thread = threading.Thread(
        target=_watch, args=(library, own, found, stop), name="gpu", daemon=True
    )
    thread.start()
    try:
        yield found
    finally:
        stop.set()
        thread.join()


def _watch(library: Nvml, pid: int, found: Watched, stop: threading.Event) -> None:
    # A driver that fails in the middle costs what it would have told, and never the trial.
    with contextlib.suppress(library.NVMLError):
        library.nvmlInit()
        try:
            count = library.nvmlDeviceGetCount()
            devices = [library.nvmlDeviceGetHandleByIndex(number) for number in range(count)]
            while devices:
                _look(library, devices, pid, found)
                if stop.wait(EVERY_S):
                    _look(library, devices, pid, found)
                    return
        finally:
            library.nvmlShutdown()


def _look(library: Nvml, devices: list[Any], pid: int, found: Watched) -> None:
    rates = [library.nvmlDeviceGetUtilizationRates(device).gpu for device in devices]
    used = sum(library.nvmlDeviceGetMemoryInfo(device).used for device in devices)
    own = [
        process.usedGpuMemory
        for device in devices
        for process in library.nvmlDeviceGetComputeRunningProcesses(device)
        if process.pid == pid and process.usedGpuMemory is not None
    ]
    found.shares.append(max(rates) / _WHOLE)
    found.all_bytes = max(found.all_bytes, used)
    found.own_bytes = max(found.own_bytes, sum(own))
    found.is_own_told = found.is_own_told or bool(own)
