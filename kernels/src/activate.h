// Activations in float32, to about 1e-6 of their result or of 1. Products and sums are not contracted: an element has the
// same bits in whichever kernel it is made.
#pragma once
#include "args.h"
#include "device.h"

constexpr float log2e = 1.44269504f;

// (1 + e^-x)^-1. Where e^-x overflows its reciprocal is 0.
DEVICE float sigmoid(float x) {
#pragma clang fp contract(off)
  return rcp(1 + ex2(-log2e * x));
}

// 1 - 2/(1 + e^2x); near 0, where that cancels, x + x³·p(x²), p a least-squares fit of relative error 2e-7.
DEVICE float tanh(float x) {
#pragma clang fp contract(off)
  const float s = x * x;
  const float p = fma(fma(fma(0.0156079458f, s, -0.0522078414f), s, 0.133130099f), s, -0.333325886f);
  const float near = fma(x * s, p, x), far = 1 - 2 * rcp(1 + ex2(2 * log2e * x));
  return abs(x) < 0.6f ? near : far;
}

// x·Φ(x) = max(x, 0) - |x|·tail, where tail = erfc(|x|/√2)/2 by Abramowitz and Stegun's formula 7.1.26 (error 1.5e-7):
// taken for |x| it does not cancel on the left.
DEVICE float gelu(float x) {
#pragma clang fp contract(off)
  const float z = abs(x), t = rcp(fma(0.231641888f, z, 1));
  float p = fma(0.530702715f, t, -0.726576014f);
  p = fma(fma(fma(p, t, 0.710706871f), t, -0.142248368f), t, 0.127414796f);
  return fma(-z, p * t * ex2(-0.5f * log2e * (x * x)), max(x, 0.0f));
}

// activate applies act to n values; the branch is the same for all threads.
template <int n> DEVICE void activate(float *v, int act) {
#pragma clang fp contract(off)
  switch (act) {
  case ACT_RELU:
    UNROLL for (int i = 0; i < n; i++) v[i] = v[i] < 0 ? 0 : v[i];
    break;
  case ACT_TANH:
    UNROLL for (int i = 0; i < n; i++) v[i] = tanh(v[i]);
    break;
  case ACT_SIGMOID:
    UNROLL for (int i = 0; i < n; i++) v[i] = sigmoid(v[i]);
    break;
  case ACT_SILU:
    UNROLL for (int i = 0; i < n; i++) v[i] *= sigmoid(v[i]);
    break;
  case ACT_GELU:
    UNROLL for (int i = 0; i < n; i++) v[i] = gelu(v[i]);
    break;
  case ACT_GELU_TANH: // 0.5(1 + tanh u) = sigmoid(2u), u = √(2/π)(x + 0.044715x³)
    UNROLL for (int i = 0; i < n; i++) {
      const float x = v[i];
      v[i] = x * sigmoid(1.59576912f * fma(0.044715f * x * x, x, x));
    }
    break;
  case ACT_QUICK_GELU:
    UNROLL for (int i = 0; i < n; i++) v[i] *= sigmoid(1.702f * v[i]);
    break;
  }
}
