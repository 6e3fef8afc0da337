"""What is told of graphics processors, by a substitute for the part of NVML that is used."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from retuned.tune.gpu import Nvml, nvml, watched
from retuned_pipelines.search.trial import GpuUse


class DriverError(Exception):
    """What the driver raises."""


@dataclass
class Devices:
    """Two devices; the second computes. Looks are counted, so that a test can wait for some."""

    processes: list[Any] = field(default_factory=list)
    fails_after: int = 1_000_000
    looks: int = 0
    is_open: bool = False
    seen: threading.Event = field(default_factory=threading.Event)
    NVMLError: type[Exception] = DriverError

    def nvmlInit(self) -> None:  # noqa: N802 (the library's names)
        self.is_open = True

    def nvmlShutdown(self) -> None:  # noqa: N802
        self.is_open = False

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:  # noqa: N802
        if self.looks >= self.fails_after:
            raise DriverError
        return SimpleNamespace(gpu=80 * handle)

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        return SimpleNamespace(used=(1 + handle) * 1_000_000_000)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        self.looks += handle
        self.seen.set()
        return self.processes if handle else []


def process(pid: int, used: int | None) -> SimpleNamespace:
    return SimpleNamespace(pid=pid, usedGpuMemory=used)


def use_of(devices: Nvml, seen: threading.Event) -> GpuUse | None:
    with watched(devices) as found:
        assert seen.wait(5.0)
    return found.use()


def test_memory_is_the_processs_own_where_the_driver_tells() -> None:
    devices = Devices([process(os.getpid(), 500_000_000), process(1, 9_000_000_000)])
    found = use_of(devices, devices.seen)
    assert found == GpuUse(share=0.8, peak_mb=500.0, is_device_wide=False)
    assert not devices.is_open


@pytest.mark.parametrize("processes", [[], [process(os.getpid(), None)], [process(1, 7)]])
def test_memory_is_everybodys_where_it_does_not(processes: list[Any]) -> None:
    devices = Devices(processes)
    found = use_of(devices, devices.seen)
    assert found == GpuUse(share=0.8, peak_mb=3000.0, is_device_wide=True)


def test_a_driver_that_fails_costs_what_it_would_have_told() -> None:
    devices = Devices(fails_after=1)
    assert use_of(devices, devices.seen) is not None
    assert not devices.is_open
    with watched(Devices(fails_after=0)) as found:
        pass
    assert found.use() is None


def test_without_a_driver_nothing_is_looked_at() -> None:
    before = threading.active_count()
    with watched(None) as found:
        assert threading.active_count() == before
    assert found.use() is None


def test_a_library_is_found_only_where_there_is_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retuned.tune.gpu._DRIVER", _Path(is_there=False))
    assert nvml() is None
    monkeypatch.setattr("retuned.tune.gpu._DRIVER", _Path(is_there=True))
    found = nvml()
    assert found is not None
    assert issubclass(found.NVMLError, Exception)


@dataclass(frozen=True)
class _Path:
    is_there: bool

    def exists(self) -> bool:
        return self.is_there
