// The kernels of the head, one warp per result row or pair. The order of the arguments (inputs,
// sizes, output) is that in which TensorRT calls a kernel that was compiled ahead of time.
#ifndef EDGESAFE_KERNELS_CUH
#define EDGESAFE_KERNELS_CUH

#include "hyperbolic.cuh"

namespace edgesafe {

constexpr int kThreads = 128;
constexpr int kWarps = kThreads / kLanes;

__device__ inline long long warp_index() {
  return static_cast<long long>(blockIdx.x) * kWarps + threadIdx.x / kLanes;
}

__device__ inline WarpLanes warp_lanes() {
  return WarpLanes{static_cast<int>(threadIdx.x % kLanes)};
}

/// Writes one row times a factor.
__device__ inline void scale_row(const WarpLanes& lanes, const float* x, int d, float factor,
                                 float* y) {
  for (int i = lanes.lane; i < d; i += kLanes) y[i] = factor * x[i];
}

}  // namespace edgesafe

// extern "C": a kernel in PTX is found by its name. rows, d, n, m: sizes as TensorRT passes them.

extern "C" __global__ void edgesafe_exp_map0(const float* u, const float* c, int rows, int d,
                                             float* y) {
  const long long row = edgesafe::warp_index();
  if (row >= rows) return;
  const auto lanes = edgesafe::warp_lanes();
  const float factor = edgesafe::exp_map0_factor(lanes, u + row * d, d, *c);
  edgesafe::scale_row(lanes, u + row * d, d, factor, y + row * d);
}

extern "C" __global__ void edgesafe_root_distance(const float* x, const float* c, int rows, int d,
                                                  float* y) {
  const long long row = edgesafe::warp_index();
  if (row >= rows) return;
  const auto lanes = edgesafe::warp_lanes();
  const float found = edgesafe::root_distance(lanes, x + row * d, d, *c);
  if (lanes.lane == 0) y[row] = found;
}

/// min_radius travels as the bits of a float: sizes are the only scalars that TensorRT passes.
extern "C" __global__ void edgesafe_half_aperture(const float* x, const float* c, int rows, int d,
                                                  int min_radius_bits, float* y) {
  const long long row = edgesafe::warp_index();
  if (row >= rows) return;
  const auto lanes = edgesafe::warp_lanes();
  const float radius = __int_as_float(min_radius_bits);
  const float found = edgesafe::half_aperture(lanes, x + row * d, d, *c, radius);
  if (lanes.lane == 0) y[row] = found;
}

/// limits: how many there are, one for all rows or one per row.
extern "C" __global__ void edgesafe_traverse(const float* x, const float* limit, const float* c,
                                             int rows, int d, int limits, float* y) {
  const long long row = edgesafe::warp_index();
  if (row >= rows) return;
  const auto lanes = edgesafe::warp_lanes();
  const float own = limit[limits == 1 ? 0 : row];
  const float factor = edgesafe::traverse_factor(lanes, x + row * d, d, own, *c);
  edgesafe::scale_row(lanes, x + row * d, d, factor, y + row * d);
}

extern "C" __global__ void edgesafe_lorentz_distance(const float* x, const float* z, const float* c,
                                                     int n, int m, int d, float* y) {
  const long long pair = edgesafe::warp_index();
  if (pair >= static_cast<long long>(n) * m) return;
  const auto lanes = edgesafe::warp_lanes();
  const float found =
      edgesafe::lorentz_distance(lanes, x + pair / m * d, z + pair % m * d, d, *c);
  if (lanes.lane == 0) y[pair] = found;
}

extern "C" __global__ void edgesafe_exterior_angle(const float* x, const float* z, const float* c,
                                                   int n, int m, int d, float* y) {
  const long long pair = edgesafe::warp_index();
  if (pair >= static_cast<long long>(n) * m) return;
  const auto lanes = edgesafe::warp_lanes();
  const float found = edgesafe::exterior_angle(lanes, x + pair / m * d, z + pair % m * d, d, *c);
  if (lanes.lane == 0) y[pair] = found;
}

#endif  // EDGESAFE_KERNELS_CUH
