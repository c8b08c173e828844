"""As much of the CUDA driver as it takes to run an engine: memory, copies, a stream.

The driver library is there wherever a GPU works, whatever else is installed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .reading import BundleError

__all__ = ["Buffers", "Cuda"]


class Cuda:
    """The primary context of the first GPU, which TensorRT uses too."""

    def __init__(self) -> None:
        """Open the driver.

        Raises:
            BundleError: There is no driver or no GPU.
        """
        try:
            self._driver: Any = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise BundleError(f"there is no NVIDIA driver here ({error})") from None
        device, context = ctypes.c_int(), ctypes.c_void_p()
        self.call("cuInit", 0)
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the driver.

        Raises:
            BundleError: It fails.
        """
        status = getattr(self._driver, name)(*arguments)
        if status:
            raise BundleError(f"the CUDA driver fails in {name} (status {status})")

    @contextmanager
    def stream(self) -> Iterator[int]:
        """Make a stream; yields its handle."""
        handle = ctypes.c_void_p()
        self.call("cuStreamCreate", ctypes.byref(handle), 0)
        try:
            yield handle.value or 0
        finally:
            self.call("cuStreamDestroy_v2", handle)

    def wait(self, stream: int) -> None:
        """Wait until all is done that was given to a stream."""
        self.call("cuStreamSynchronize", ctypes.c_void_p(stream))

    @contextmanager
    def buffers(self) -> Iterator[Buffers]:
        """Make room for memory on the GPU, which is freed at the end."""
        made = Buffers(self)
        try:
            yield made
        finally:
            made.free()


class Buffers:
    """Memory on the GPU."""

    def __init__(self, cuda: Cuda) -> None:
        """Start without any."""
        self._cuda = cuda
        self._addresses: list[int] = []

    def reserve(self, size: int) -> int:
        """Return the address of ``size`` bytes."""
        address = ctypes.c_uint64()
        self._cuda.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(max(size, 1)))
        self._addresses.append(address.value)
        return address.value

    def upload(self, value: NDArray[Any]) -> int:
        """Return the address of a copy of an array."""
        data = np.ascontiguousarray(value)
        address = self.reserve(data.nbytes)
        self._cuda.call(
            "cuMemcpyHtoD_v2",
            ctypes.c_uint64(address),
            data.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_size_t(data.nbytes),
        )
        return address

    def download(self, address: int, value: NDArray[Any]) -> None:
        """Copy the memory at an address into an array."""
        self._cuda.call(
            "cuMemcpyDtoH_v2",
            value.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_uint64(address),
            ctypes.c_size_t(value.nbytes),
        )

    def free(self) -> None:
        """Free all of it."""
        for address in self._addresses:
            self._cuda.call("cuMemFree_v2", ctypes.c_uint64(address))
        self._addresses.clear()
