// The head on the host, for tests and tools: c++ -O2 -shared -fPIC host.cpp -o libedgesafe_host.so
#include "hyperbolic.cuh"

namespace {
constexpr edgesafe::HostLanes kHost{};
}

extern "C" {

void edgesafe_host_exp_map0(const float* u, float c, int rows, int d, float* y) {
  for (int row = 0; row < rows; ++row, u += d, y += d) {
    const float factor = edgesafe::exp_map0_factor(kHost, u, d, c);
    for (int i = 0; i < d; ++i) y[i] = factor * u[i];
  }
}

void edgesafe_host_root_distance(const float* x, float c, int rows, int d, float* y) {
  for (int row = 0; row < rows; ++row, x += d) y[row] = edgesafe::root_distance(kHost, x, d, c);
}

void edgesafe_host_half_aperture(const float* x, float c, float min_radius, int rows, int d,
                                 float* y) {
  for (int row = 0; row < rows; ++row, x += d) {
    y[row] = edgesafe::half_aperture(kHost, x, d, c, min_radius);
  }
}

void edgesafe_host_traverse(const float* x, const float* limit, float c, int rows, int d,
                            int limits, float* y) {
  for (int row = 0; row < rows; ++row, x += d, y += d) {
    const float own = limit[limits == 1 ? 0 : row];
    const float factor = edgesafe::traverse_factor(kHost, x, d, own, c);
    for (int i = 0; i < d; ++i) y[i] = factor * x[i];
  }
}

void edgesafe_host_lorentz_distance(const float* x, const float* z, float c, int n, int m, int d,
                                    float* y) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < m; ++j) {
      y[i * m + j] = edgesafe::lorentz_distance(kHost, x + i * d, z + j * d, d, c);
    }
  }
}

void edgesafe_host_exterior_angle(const float* x, const float* z, float c, int n, int m, int d,
                                  float* y) {
  for (int i = 0; i < n; ++i) {
    for (int j = 0; j < m; ++j) {
      y[i * m + j] = edgesafe::exterior_angle(kHost, x + i * d, z + j * d, d, c);
    }
  }
}

}  // extern "C"
