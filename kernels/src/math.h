// Sums over lanes and functions that PTX has only as rough approximations, or not at all.
#pragma once
#include "device.h"

constexpr float LOG2E = 1.44269504088896f;
DEVICE float infinity() { return __builtin_inff(); }

// warp_sum and warp_max leave the result in every lane. The tree is the same whatever the values are.
DEVICE float warp_sum(float v) {
  UNROLL for (int m = 16; m; m >>= 1) v += shuffle_xor(v, m);
  return v;
}
DEVICE float warp_max(float v) {
  UNROLL for (int m = 16; m; m >>= 1) v = max(v, shuffle_xor(v, m));
  return v;
}

// soft_cap is cap·tanh(x/cap) with an error of about 2^-22·cap: tanh t = 1 - 2/(1 + e^2t), which saturates by itself.
DEVICE float soft_cap(float x, float cap) {
  const float e = ex2(abs(x) * (2 * LOG2E / cap));
  return __builtin_copysignf(cap * fma(-2.f, rcp(1.f + e), 1.f), x);
}

// sin_cos is exact to about 1e-7 for |x| up to 2^31: x minus the nearest multiple of π/2 in double, whose π/2 is off by
// 6e-17, then the Taylor series on [-π/4, π/4], whose next terms are below 2e-9.
DEVICE void sin_cos(float x, float &sin, float &cos) {
  const double turns = __builtin_rint((double)x * 0x1.45f306dc9c883p-1);
  const double reduced = __builtin_fma(-turns, 0x1.921fb54442d18p+0, (double)x);
  const float r = (float)reduced, r2 = r * r;
  float s = fma(r2, 1.f / 362880, -1.f / 5040);
  s = fma(r2, s, 1.f / 120);
  s = fma(r2, s, -1.f / 6);
  s = fma(r * r2, s, r);
  float c = fma(r2, -1.f / 3628800, 1.f / 40320);
  c = fma(r2, c, -1.f / 720);
  c = fma(r2, c, 1.f / 24);
  c = fma(r2, c, -0.5f);
  c = fma(r2, c, 1.f);
  const i64 quarter = (i64)turns;
  const bool odd = quarter & 1;
  sin = odd ? c : s;
  cos = odd ? s : c;
  if (quarter & 2) sin = -sin;
  if ((quarter + 1) & 2) cos = -cos;
}
