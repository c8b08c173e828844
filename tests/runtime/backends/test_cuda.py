"""The calls of the CUDA driver, through a library that keeps device memory on the host."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgesafe.runtime.backends import cuda
from edgesafe.runtime.backends.cuda import CudaDevice, DeviceBuffer
from edgesafe.runtime.errors import BackendError

# Prototypes as in cuda.h; every call checks that what must come before it came.
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
typedef unsigned long long CUdeviceptr;
static int ready, current, allocated, mode; static char context, stream;
void edgesafe_mode(int m) { mode = m; ready = current = allocated = 0; }
int edgesafe_allocated(void) { return allocated; }
int cuInit(unsigned flags) { if (mode == 1) return 100; ready = 1; return flags ? 1 : 0; }
int cuDriverGetVersion(int* v) { *v = 12060; return 0; }
int cuDeviceGet(int* d, int n) { if (!ready) return 3; *d = n; return 0; }
int cuDeviceGetName(char* s, int n, int d) { strncpy(s, "Orin", n); return d; }
int cuDeviceGetAttribute(int* v, int a, int d) { *v = a == 75 ? 8 : a == 76 ? 7 : 0; return d; }
int cuDeviceTotalMem_v2(size_t* n, int d) { *n = (size_t)8 << 30; return d; }
int cuDevicePrimaryCtxRetain(void** c, int d) { if (!ready) return 3; *c = &context; return d; }
int cuCtxSetCurrent(void* c) { current = c == &context; return current ? 0 : 201; }
int cuStreamCreate(void** s, unsigned f) { if (!current) return 201; *s = &stream; return f; }
int cuStreamSynchronize(void* s) { return s == &stream ? 0 : 400; }
int cuMemAlloc_v2(CUdeviceptr* p, size_t n) {
  if (!current) return 201;
  if (n > (1 << 20)) return 2;
  *p = (CUdeviceptr)(size_t)malloc(n); allocated++; return 0; }
int cuMemFree_v2(CUdeviceptr p) { free((void*)(size_t)p); allocated--; return 0; }
int cuMemcpyHtoDAsync_v2(CUdeviceptr d, const void* h, size_t n, void* s) {
  if (s != &stream) return 400;
  memcpy((void*)(size_t)d, h, n); return 0; }
int cuMemcpyDtoHAsync_v2(void* h, CUdeviceptr d, size_t n, void* s) {
  if (s != &stream) return 400;
  memcpy(h, (void*)(size_t)d, n); return 0; }
int cuGetErrorName(int e, const char** s) {
  *s = e == 100 ? "CUDA_ERROR_NO_DEVICE" : e == 2 ? "CUDA_ERROR_OUT_OF_MEMORY" : 0;
  return *s ? 0 : 1; }
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler to make the stand-in for the driver with")
    folder = tmp_path_factory.mktemp("driver")
    (folder / "driver.c").write_text(SOURCE)
    made = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", made, folder / "driver.c"], check=True)
    return made


@pytest.fixture
def driver(library: Path) -> Any:
    loaded = ctypes.CDLL(str(library))
    loaded.edgesafe_mode(0)
    return loaded


def test_what_goes_to_the_device_comes_back(driver: Any) -> None:
    device = CudaDevice(driver)
    assert (device.name, device.compute, device.driver) == ("Orin", "8.7", "12.6")
    assert device.memory == 8 << 30
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    buffer = DeviceBuffer(device, values.nbytes)
    device.to_device(buffer.address, values)
    found = np.empty_like(values)
    device.to_host(found, buffer.address)
    device.wait()
    np.testing.assert_array_equal(found, values)
    assert driver.edgesafe_allocated() == 1
    del buffer
    assert driver.edgesafe_allocated() == 0


def test_errors_have_the_drivers_name(driver: Any) -> None:
    device = CudaDevice(driver)
    with pytest.raises(BackendError, match=r"CUDA_ERROR_OUT_OF_MEMORY \(2\) to cuMemAlloc_v2"):
        DeviceBuffer(device, 1 << 30)
    device.stream = 5
    with pytest.raises(BackendError, match=r"an unknown error \(400\)"):
        device.wait()


@pytest.fixture
def fresh() -> Any:
    cuda.open_device.cache_clear()
    yield
    cuda.open_device.cache_clear()


def test_a_machine_without_a_gpu_or_a_driver_says_so(
    library: Path, driver: Any, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_LIBRARIES", (str(library),))
    driver.edgesafe_mode(1)
    with pytest.raises(BackendError, match="CUDA_ERROR_NO_DEVICE"):
        cuda.open_device()
    monkeypatch.setattr(cuda, "_LIBRARIES", ("libno-such-driver.so.1",))
    with pytest.raises(BackendError, match="there is no NVIDIA driver"):
        cuda.open_device()
    monkeypatch.setattr(cuda, "_LIBRARIES", ("libc.so.6",))
    with pytest.raises(BackendError, match="too old"):
        cuda.open_device()


def test_the_device_is_opened_once(
    library: Path, driver: Any, fresh: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda, "_LIBRARIES", ("libno-such-driver.so.1", str(library)))
    assert cuda.open_device() is cuda.open_device()
