// y = cap(act(x·wᵀ + bias)) for 16-bit types on Hopper: TMA feeds wgmma through a ring of stages in shared memory.
//
// Blocks are persistent, one a multiprocessor, and walk the 128 x BN tiles of y in bands of eight rows of tiles, so that w
// stays in L2. One warpgroup gives its registers away and copies 64 columns of x and w a stage; two others make 64 rows
// each. They keep one group of products in flight and release a stage when the next one's products have been issued. The
// copies run ahead into the next tile during the epilogue. One group begins some stages behind the other and stays so: then
// its products fill the tensor cores during the other's epilogue, and the other way round. What lies outside x and w
// arrives as zeros.
//
// An element is one accumulator that gets its products 16 k at a time, in order, in both tiles: the same bits.
#include "epilogue.h"
#include "hopper.h"

template <class T, int BN, int Stages> struct Product {
  static constexpr int BM = 128, BK = 64, N = BN / 2; // N accumulators a thread
  static constexpr int x_bytes = BM * BK * 2, stage = (BM + BN) * BK * 2;

  struct Tiles {
    u32 rows, cols;
    DEVICE Tiles(const Gemm &a) : rows(ceil_div(a.m, BM)), cols(ceil_div(a.n, BN)) {}
    DEVICE u32 count() const { return rows * cols; }
    DEVICE void at(u32 i, int &m0, int &n0) const {
      const u32 band = i / (8 * cols), in_band = i % (8 * cols), height = min(rows - band * 8, 8u);
      m0 = (band * 8 + in_band % height) * BM, n0 = in_band / height * BN;
    }
  };

  // Ring is a place in the ring and the parity of its mbarriers.
  struct Ring {
    u32 slot = 0, parity;
    DEVICE Ring(u32 parity) : parity(parity) {}
    DEVICE void next() {
      if (++slot == Stages) slot = 0, parity ^= 1;
    }
  };

  static DEVICE void copy(const Gemm &a, const TensorMap *x, const TensorMap *w, u32 shared, u32 full, u32 empty) {
    prefetch_map(x);
    prefetch_map(w);
    const Tiles tiles(a);
    Ring ring(1);
    for (u32 i = block(); i < tiles.count(); i += blocks()) {
      int m0, n0;
      tiles.at(i, m0, n0);
      ROLLED for (int k = 0; k < a.k; k += BK) {
        const u32 to = shared + ring.slot * stage, b = full + ring.slot * 8;
        mbarrier_wait(empty + ring.slot * 8, ring.parity);
        mbarrier_expect(b, stage);
        copy_tile(to, x, b, k, m0);
        copy_tile(to + x_bytes, w, b, k, n0);
        ring.next();
      }
    }
  }

  // multiply makes rows 64·group and up of every tile.
  static DEVICE void multiply(const Gemm &a, u32 group, u32 shared, u32 full, u32 empty, u32 ahead) {
    const u32 w = warp() & 3;
    const bool leader = (thread() & 127) == 0;
    float *part = (float *)(dynamic_shared + Stages * stage + (group * 4 + w) * (stage_bytes + BN * 4));
    float *biases = part + stage_bytes / 4;
    const u64 x_rows = wgmma_operand(shared + group * 64 * BK * 2), w_rows = wgmma_operand(shared + x_bytes);
    const Tiles tiles(a);
    Ring ring(0);
    float d[N] = {};
    // The first group signals from the middle of its first way round the ring: at its end it would wait for the other.
    const int lead = min(Stages / 2 * BK, (a.k - 1) / BK * BK);
    if (group == 1 && a.k > 0) mbarrier_wait(ahead, 0);
    for (u32 i = block(); i < tiles.count(); i += blocks()) {
      int m0, n0;
      tiles.at(i, m0, n0);
      float bias[BN / 32]; // of the tile's columns; the warp shares them behind the products
      UNROLL for (int b = 0; b < BN / 32; b++) {
        const int c = n0 + b * 32 + lane();
        bias[b] = a.bias && c < a.n ? a.bias[c] : 0;
      }
      u32 before = 0; // the mbarrier of the stage whose products are in flight
      ROLLED for (int k = 0; k < a.k; k += BK) {
        mbarrier_wait(full + ring.slot * 8, ring.parity);
        const u64 xs = x_rows + ring.slot * (stage >> 4), ws = w_rows + ring.slot * (stage >> 4);
        pin<N>(d);
        wgmma_fence();
        UNROLL for (int kk = 0; kk < BK / 16; kk++) wgmma<T, BN>(d, xs + kk * 2, ws + kk * 2, kk ? 1 : k);
        wgmma_commit();
        if (leader && group == 0 && k == lead && i == block()) mbarrier_arrive(ahead);
        wgmma_wait<1>();
        pin<N>(d);
        if (leader && k) mbarrier_arrive(before);
        before = empty + ring.slot * 8;
        ring.next();
      }
      wgmma_wait<0>();
      pin<N>(d);
      if (leader && a.k) mbarrier_arrive(before);

      UNROLL for (int b = 0; b < BN / 32; b++) biases[b * 32 + lane()] = bias[b];
      ROLLED for (int q = 0; q < BN / 32; q++) {
        unroll<BN / 32>([&](auto c) {
          if (c.v == q) unroll<4>([&](auto j) { stage_put<j.v>(part, d + c.v * 16 + j.v * 4); });
        });
        warp_barrier();
        const int c = q * 32 + stage_column();
        stage_finish(a, Epilogue<T>(a, n0 + c, *(const float4 *)(biases + c)), part, m0 + group * 64 + w * 16);
        warp_barrier();
      }
    }
  }

  static DEVICE void run(const Gemm &a, const TensorMap *x, const TensorMap *w) {
    // The mbarriers lie behind all else: with static shared memory before it, the ring might not begin on 1,024 bytes,
    // which the swizzle counts from.
    const u32 shared = shared_address(dynamic_shared), f = shared + Stages * stage + 8 * (stage_bytes + BN * 4);
    const u32 e = f + Stages * 8, ahead = e + Stages * 8;
    if (thread() == 0) {
      UNROLL for (int s = 0; s < Stages; s++) {
        mbarrier_init(f + s * 8, 1);
        mbarrier_init(e + s * 8, 2); // the two warpgroups
      }
      mbarrier_init(ahead, 1);
      mbarrier_init_fence();
    }
    barrier();
    wait_for_previous(); // what comes before it runs while the previous kernel ends
    const u32 group = warp() >> 2;
    if (group == 0) {
      fewer_registers<24>();
      if (warp() == 0 && elected()) copy(a, x, w, shared, f, e);
    } else {
      more_registers<240>();
      multiply(a, group - 1, shared, f, e, ahead);
    }
  }
};

#define PRODUCT(name, T, BN, Stages)                                                                                     \
  KERNEL __launch_bounds__(384, 1)                                                                                       \
  name(const Gemm a, const __grid_constant__ TensorMap x, const __grid_constant__ TensorMap w) {                         \
    Product<T, BN, Stages>::run(a, &x, &w);                                                                              \
  }
PRODUCT(wgmma_f16_128x256, f16, 256, 4)
PRODUCT(wgmma_bf16_128x256, bf16, 256, 4)
PRODUCT(wgmma_f16_128x128, f16, 128, 6)
PRODUCT(wgmma_bf16_128x128, bf16, 128, 6)
