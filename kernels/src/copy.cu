// Blocks of a paged cache, copied in all its layers, keys and values alike: a launch for all pairs. Block x of a pair's
// part copies 16 KiB of it, four 16-byte words a thread, whose loads are under way together.
#include "args.h"
#include "device.h"

constexpr int THREADS = 256, WORDS = 4;

KERNEL __launch_bounds__(256, 4) copy_blocks(const CopyBlocks a) {
  const int pair = block_z();
  char *part = (char *)a.cache + (u64)block_y() * a.apart;
  const char *from = part + (u64)a.from[pair] * a.part;
  char *to = part + (u64)a.to[pair] * a.part;
  const u64 first = ((u64)block() * THREADS * WORDS + thread()) * 16;
  uint4 v[WORDS];
  UNROLL for (int i = 0; i < WORDS; i++) {
    const u64 at = first + i * THREADS * 16;
    if (at < a.part) v[i] = load<uint4>(from + at);
  }
  UNROLL for (int i = 0; i < WORDS; i++) {
    const u64 at = first + i * THREADS * 16;
    if (at < a.part) store(to + at, v[i]);
  }
}
