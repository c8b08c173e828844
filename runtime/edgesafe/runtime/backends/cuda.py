"""The few calls of the CUDA driver that an engine needs: memory, copies, one stream.

Straight from ``libcuda.so.1``, which every driver brings (also JetPack's), so that no other CUDA
package is needed. The device's primary context is used: the one that TensorRT's own calls use.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from typing import Any

from edgesafe.runtime.backends.base import Array, unavailable
from edgesafe.runtime.errors import BackendError

__all__ = ["CudaDevice", "DeviceBuffer", "open_device"]

_LIBRARIES = ("libcuda.so.1", "libcuda.so", "nvcuda.dll")
_COMPUTE_MAJOR, _COMPUTE_MINOR = 75, 76  # CUdevice_attribute

_ptr, _size, _int = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
# A CUdeviceptr is an unsigned 64-bit number; contexts and streams are pointers.
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cuInit": (ctypes.c_uint,),
    "cuDriverGetVersion": (ctypes.POINTER(_int),),
    "cuDeviceGet": (ctypes.POINTER(_int), _int),
    "cuDeviceGetName": (ctypes.c_char_p, _int, _int),
    "cuDeviceGetAttribute": (ctypes.POINTER(_int), _int, _int),
    "cuDeviceTotalMem_v2": (ctypes.POINTER(_size), _int),
    "cuDevicePrimaryCtxRetain": (ctypes.POINTER(_ptr), _int),
    "cuCtxSetCurrent": (_ptr,),
    "cuStreamCreate": (ctypes.POINTER(_ptr), ctypes.c_uint),
    "cuStreamSynchronize": (_ptr,),
    "cuMemAlloc_v2": (ctypes.POINTER(ctypes.c_uint64), _size),
    "cuMemFree_v2": (ctypes.c_uint64,),
    "cuMemcpyHtoDAsync_v2": (ctypes.c_uint64, _ptr, _size, _ptr),
    "cuMemcpyDtoHAsync_v2": (_ptr, ctypes.c_uint64, _size, _ptr),
    "cuGetErrorName": (_int, ctypes.POINTER(ctypes.c_char_p)),
}


class DeviceBuffer:
    """Memory of a device, freed when the object goes.

    Attributes:
        address: Where it lies on the device.
        nbytes: Its size.
    """

    def __init__(self, device: CudaDevice, nbytes: int) -> None:
        """Allocate at least one byte."""
        self.nbytes = max(1, nbytes)
        self.address = device.allocate(self.nbytes)
        # Not at the end of the program: the driver may be gone by then.
        weakref.finalize(self, device.free, self.address).atexit = False


class CudaDevice:
    """The first GPU that this process may see.

    Attributes:
        name: As the driver says it, e.g. ``Orin``.
        compute: Compute capability, e.g. ``8.7``.
        driver: The newest CUDA that the driver knows, e.g. ``12.6``.
        memory: Bytes.
        stream: All work of this process goes here.
    """

    def __init__(self, library: Any) -> None:
        """Start the driver.

        Args:
            library: The loaded ``libcuda``.

        Raises:
            BackendError: The driver has no GPU for this process.
        """
        self._library = library
        for function, arguments in _SIGNATURES.items():
            call = getattr(library, function)
            call.argtypes, call.restype = list(arguments), _int
        self._call("cuInit", 0)
        number, version, major, minor = _int(), _int(), _int(), _int()
        self._call("cuDeviceGet", ctypes.byref(number), 0)
        self._call("cuDriverGetVersion", ctypes.byref(version))
        self._call("cuDeviceGetAttribute", ctypes.byref(major), _COMPUTE_MAJOR, number)
        self._call("cuDeviceGetAttribute", ctypes.byref(minor), _COMPUTE_MINOR, number)
        name = ctypes.create_string_buffer(128)
        self._call("cuDeviceGetName", name, len(name), number)
        total = _size()
        self._call("cuDeviceTotalMem_v2", ctypes.byref(total), number)
        self.name = name.value.decode("utf-8", errors="replace")
        self.compute = f"{major.value}.{minor.value}"
        self.driver = f"{version.value // 1000}.{version.value % 1000 // 10}"
        self.memory = total.value
        self._context, stream = _ptr(), _ptr()
        self._call("cuDevicePrimaryCtxRetain", ctypes.byref(self._context), number)
        self.activate()
        self._call("cuStreamCreate", ctypes.byref(stream), 0)
        self.stream = stream.value or 0

    def activate(self) -> None:
        """Make the calling thread one that uses this device."""
        self._call("cuCtxSetCurrent", self._context)

    def allocate(self, nbytes: int) -> int:
        """Return the address of new memory."""
        address = ctypes.c_uint64()
        self.activate()
        self._call("cuMemAlloc_v2", ctypes.byref(address), nbytes)
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self.activate()
        self._call("cuMemFree_v2", address)

    def to_device(self, address: int, values: Array) -> None:
        """Start to copy an array; it must live until :meth:`wait`."""
        assert values.flags.c_contiguous
        self._call("cuMemcpyHtoDAsync_v2", address, values.ctypes.data, values.nbytes, self.stream)

    def to_host(self, values: Array, address: int) -> None:
        """Start to fill an array; it is full after :meth:`wait`."""
        assert values.flags.c_contiguous
        self._call("cuMemcpyDtoHAsync_v2", values.ctypes.data, address, values.nbytes, self.stream)

    def wait(self) -> None:
        """Wait until all that was started is done."""
        self._call("cuStreamSynchronize", self.stream)

    def _call(self, function: str, *arguments: Any) -> None:
        status = getattr(self._library, function)(*arguments)
        if status != 0:
            text = ctypes.c_char_p()
            self._library.cuGetErrorName(status, ctypes.byref(text))
            name = (text.value or b"an unknown error").decode("ascii", errors="replace")
            raise BackendError(f"the NVIDIA driver answers {name} ({status}) to {function}")


@functools.lru_cache(maxsize=1)
def open_device() -> CudaDevice:
    """Return the GPU of this process.

    Raises:
        BackendError: There is no NVIDIA driver, or no GPU for this process.
    """
    for name in _LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        try:
            return CudaDevice(library)
        except BackendError as error:
            raise unavailable("trt", str(error)) from None
        except AttributeError as error:
            raise unavailable("trt", f"the NVIDIA driver is too old ({error})") from None
    raise unavailable("trt", f"there is no NVIDIA driver ({_LIBRARIES[0]})")
