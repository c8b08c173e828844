// The hyperbolic head in single precision: one numeric core for the host and for CUDA devices.
//
// The formulas are those of edgesafe.runtime.lorentz and of the ONNX functions of the domain
// ai.edgesafe; none of their terms is a difference of nearly equal ones. A row is a space part of
// d floats; c > 0 is the curvature. Every sum over a row goes through a `Lanes`, which is either a
// warp or, on the host, thirty-two partial sums folded in the order in which a warp folds them, so
// that a host build tests the arithmetic of the device.
//
// Build without -use_fast_math: the forms rely on division and square root being exact to
// rounding.
#ifndef EDGESAFE_HYPERBOLIC_CUH
#define EDGESAFE_HYPERBOLIC_CUH

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
#define EDGESAFE_FUNCTION __device__ inline
#else
#define EDGESAFE_FUNCTION inline
#endif

namespace edgesafe {

constexpr int kLanes = 32;
constexpr float kEpsilon = 1.1920929e-7f;
constexpr float kTiny = 1e-30f;
constexpr float kPi = 3.14159265f;
// Where sinh(r) nears the largest float; the direction stays right above it.
constexpr float kSinhLimit = 80.7f;

#if defined(__CUDACC__) || defined(__CUDACC_RTC__)
/// The threads of one warp; every lane gets the same sum, bit for bit.
struct WarpLanes {
  int lane;

  template <typename Term>
  __device__ float sum(int count, Term term) const {
    float part = 0.0f;
    for (int i = lane; i < count; i += kLanes) part += term(i);
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
      part += __shfl_xor_sync(0xffffffffu, part, offset);
    }
    return part;
  }
};
#else
/// The same sums on the host.
struct HostLanes {
  template <typename Term>
  float sum(int count, Term term) const {
    float part[kLanes] = {};
    for (int i = 0; i < count; ++i) part[i % kLanes] += term(i);
    for (int offset = kLanes / 2; offset > 0; offset /= 2) {
      for (int i = 0; i < offset; ++i) part[i] += part[i + offset];
    }
    return part[0];
  }
};
#endif

// --- what a row's length becomes ------------------------------------------------------------------

/// sinh(r) / r. The series to r^8 is off by 2.5e-8 at r = 1.
EDGESAFE_FUNCTION float sinh_quotient(float r) {
  if (r <= 1.0f) {
    const float q = r * r;
    return 1.0f + q / 6.0f * (1.0f + q / 20.0f * (1.0f + q / 42.0f * (1.0f + q / 72.0f)));
  }
  return sinhf(fminf(r, kSinhLimit)) / r;
}

/// Distance from the root of a point of length n.
EDGESAFE_FUNCTION float root_distance_of(float n, float c) {
  const float s = sqrtf(c);
  return asinhf(s * n) / s;
}

/// Half aperture in radians of the cone whose apex has length n.
EDGESAFE_FUNCTION float half_aperture_of(float n, float c, float min_radius) {
  return asinf(fminf(2.0f * min_radius / fmaxf(sqrtf(c) * n, kTiny), 1.0f));
}

/// By what a point of length n is multiplied to lie at most `limit` from the root.
EDGESAFE_FUNCTION float traverse_factor_of(float n, float limit, float c) {
  const float s = sqrtf(c);
  const float end = limit * sinh_quotient(s * limit);
  return n > end ? end / n : 1.0f;
}

/// atan2(across, along) for across >= 0, without losing digits near 0 and near pi.
EDGESAFE_FUNCTION float angle_of(float across, float along) {
  const float hypotenuse = sqrtf(across * across + along * along);
  const float folded = 2.0f * atanf(across / fmaxf(hypotenuse + fabsf(along), kTiny));
  return along < 0.0f ? kPi - folded : folded;
}

// --- rows -----------------------------------------------------------------------------------------

template <typename Lanes>
EDGESAFE_FUNCTION float squared_norm(const Lanes& lanes, const float* x, int d) {
  return lanes.sum(d, [=](int i) { return x[i] * x[i]; });
}

/// ExpMap0: what the tangent vector u is multiplied by.
template <typename Lanes>
EDGESAFE_FUNCTION float exp_map0_factor(const Lanes& lanes, const float* u, int d, float c) {
  return sinh_quotient(fminf(sqrtf(c) * sqrtf(squared_norm(lanes, u, d)), 1e30f));
}

template <typename Lanes>
EDGESAFE_FUNCTION float root_distance(const Lanes& lanes, const float* x, int d, float c) {
  return root_distance_of(sqrtf(squared_norm(lanes, x, d)), c);
}

template <typename Lanes>
EDGESAFE_FUNCTION float half_aperture(const Lanes& lanes, const float* x, int d, float c,
                                      float min_radius) {
  return half_aperture_of(sqrtf(squared_norm(lanes, x, d)), c, min_radius);
}

template <typename Lanes>
EDGESAFE_FUNCTION float traverse_factor(const Lanes& lanes, const float* x, int d, float limit,
                                        float c) {
  return traverse_factor_of(sqrtf(squared_norm(lanes, x, d)), limit, c);
}

/// Geodesic distance, 2 asinh(sqrt(c) chord / 2) / sqrt(c). With m = x - z split along x + z into
/// mu and across it into rho, tau the sum of the time parts and k = mu / tau:
/// chord^2 = (rho^2 + (2 k)^2 / c) / ((1 - k)(1 + k)).
template <typename Lanes>
EDGESAFE_FUNCTION float lorentz_distance(const Lanes& lanes, const float* x, const float* z, int d,
                                         float c) {
  const float s = sqrtf(c);
  const float tau = sqrtf(squared_norm(lanes, x, d) + 1.0f / c) +
                    sqrtf(squared_norm(lanes, z, d) + 1.0f / c);
  const float length = fmaxf(
      sqrtf(lanes.sum(d, [=](int i) { return (x[i] + z[i]) * (x[i] + z[i]); })), kTiny);
  const float mu = lanes.sum(d, [=](int i) { return (x[i] - z[i]) * ((x[i] + z[i]) / length); });
  const float rho2 = lanes.sum(d, [=](int i) {
    const float across = (x[i] - z[i]) - mu * ((x[i] + z[i]) / length);
    return across * across;
  });
  const float k = mu / tau;
  const float slant = 2.0f * k / s;
  const float fall = fmaxf((1.0f - k) * (1.0f + k), kEpsilon);
  return 2.0f * asinhf(0.5f * s * sqrtf((rho2 + slant * slant) / fall)) / s;
}

/// Exterior angle at the apex x towards z, in radians: atan2(T, R) with T the part of z across x
/// and R = sqrt(c) (x_t z_r - |x| z_t), taken as a difference of squares where z lies ahead.
template <typename Lanes>
EDGESAFE_FUNCTION float exterior_angle(const Lanes& lanes, const float* x, const float* z, int d,
                                       float c) {
  const float xx = squared_norm(lanes, x, d);
  const float zz = squared_norm(lanes, z, d);
  const float n = sqrtf(xx);
  const float safe = fmaxf(n, kTiny);
  const float step2 = lanes.sum(d, [=](int i) { return (z[i] - x[i]) * (z[i] - x[i]); });
  // The rounding error of the part across is in proportion to the vector that is projected, so
  // the shorter of z - x and z is.
  const bool close = step2 < zz;
  const float along = lanes.sum(
      d, [=](int i) { return (close ? z[i] - x[i] : z[i]) * (x[i] / safe); });
  const float across = sqrtf(lanes.sum(d, [=](int i) {
    const float rest = (close ? z[i] - x[i] : z[i]) - along * (x[i] / safe);
    return rest * rest;
  }));
  const float radial = close ? n + along : along;
  const float excess = close ? along : along - n;
  const float xt_r = sqrtf(xx + 1.0f / c) * radial;
  const float n_zt = n * sqrtf(zz + 1.0f / c);
  float forward = xt_r - n_zt;
  if (radial > 0.0f) {
    const float sums = xt_r + n_zt;
    forward = excess * ((radial + n) / sums) / c - n * across * (n * across / sums);
  }
  return angle_of(across, sqrtf(c) * forward);
}

}  // namespace edgesafe

#endif  // EDGESAFE_HYPERBOLIC_CUH
