// The next token of each row of logits z [rows, vocab], as runtime.Sampling says: one block a row, so that nothing but a
// row's slot decides about its token.
//
// A row is read in groups of four words, the g-th by thread g mod 512 in every pass, so that what a thread wrote to work
// it reads itself. Passes: the largest logit; for log-probabilities the sum of e^(z-max); processed logits over the
// temperature, into work; for each of top_k and top_p two that find a threshold; the race of point 5.
//
// A threshold is the largest value that is reached, together with all above it, by a count or by a mass of e^(z-max). A
// histogram over the distance from the maximum finds the bin where that happens, a second pass collects its words, and
// these are compared with each other. Where there are too many of them, equal or nearly so, the bits of the threshold are
// found one by one, a pass each. Counts and masses are integers (2^44 is a mass of 1): their sums are the same in any
// order, so atomics may add them.
#include "args.h"
#include "math.h"

constexpr int THREADS = 512, WARPS = THREADS / 32;
constexpr int BINS = 2048, BINS_A_THREAD = BINS / THREADS;
constexpr int CANDIDATES = 1024;
// A word further below the largest than this loses the race whatever is drawn for both: > ln(24·ln 2 / 2^-33).
constexpr float HOPELESS = 26;
// Alternatives are counted over a wider distance, for none of them is hopeless.
constexpr float ALL = 104;
constexpr float LN2 = 0.693147181f;

struct Memory {
  u32 low[BINS], high[BINS]; // halves of 64-bit sums
  float z[CANDIDATES];
  u64 weight[CANDIDATES]; // of a candidate; its id among the alternatives
  u64 part[WARPS];
  u64 above; // what the bins before the one looked for hold
  int bin;
  u32 candidates;
  int ends[MAX_ENDS];
};

DEVICE u32 atomic_add_shared(u32 *p, u32 v) {
  u32 old;
  asm volatile("atom.shared.add.u32 %0, [%1], %2;" : "=r"(old) : "r"(shared_address(p)), "r"(v) : "memory");
  return old;
}

// key orders floats as unsigned integers, and float_of is its inverse.
DEVICE u32 key(float x) {
  const u32 u = as_bits(x);
  return u ^ (u >> 31 ? 0xffffffffu : 0x80000000u);
}
DEVICE float float_of(u32 k) { return as_float(k ^ (k >> 31 ? 0x80000000u : 0xffffffffu)); }

DEVICE u64 shuffle_xor(u64 v, int mask) {
  const float lo = shuffle_xor(as_float((u32)v), mask), hi = shuffle_xor(as_float((u32)(v >> 32)), mask);
  return (u64)as_bits(hi) << 32 | as_bits(lo);
}

// reduce leaves f over all threads' values in every thread.
template <class F> DEVICE u64 reduce(Memory &m, u64 v, F &&f) {
  UNROLL for (int i = 16; i; i >>= 1) v = f(v, shuffle_xor(v, i));
  if (lane() == 0) m.part[thread() >> 5] = v;
  barrier();
  v = m.part[lane() & (WARPS - 1)];
  UNROLL for (int i = WARPS / 2; i; i >>= 1) v = f(v, shuffle_xor(v, i));
  barrier();
  return v;
}
DEVICE u64 largest(Memory &m, u64 v) {
  return reduce(m, v, [](u64 a, u64 b) { return a > b ? a : b; });
}
DEVICE u64 total(Memory &m, u64 v) {
  return reduce(m, v, [](u64 a, u64 b) { return a + b; });
}
// sum is of a fixed tree: the same whatever is beside the row.
DEVICE float sum(Memory &m, float v) {
  return as_float((u32)reduce(m, as_bits(v), [](u64 a, u64 b) { return (u64)as_bits(as_float((u32)a) + as_float((u32)b)); }));
}

// rank orders words by value and, of equals, the lower id first; its low half gives the id back.
DEVICE u64 rank(float z, int id) { return (u64)key(z + 0.f) << 32 | (u32)~id; } // + 0: -0 is 0
constexpr u64 BAD = ~0ull;                                                      // above every rank
DEVICE int id_of(u64 rank) { return (int)~(u32)rank; }

// Row is n values, of which vectors may be loaded where they are on 16 bytes.
template <class T> struct Row {
  const T *at;
  int n;
  bool vectors;
  DEVICE Row(const T *p, int count) : at(p), n(count), vectors(((u64)p & 15) == 0) {}
  // group is values 4g to 4g+3; those past the end are fill.
  DEVICE void group(int g, T *v, T fill) const {
    const int left = n - 4 * g;
    const T *p = at + 4 * (i64)g;
    if (vectors && left >= 4) {
      const uint4 q = load<uint4>(p);
      v[0] = __builtin_bit_cast(T, q.x), v[1] = __builtin_bit_cast(T, q.y);
      v[2] = __builtin_bit_cast(T, q.z), v[3] = __builtin_bit_cast(T, q.w);
      return;
    }
    UNROLL for (int i = 0; i < 4; i++) v[i] = i < left ? p[i] : fill;
  }
};

// each calls f for every value and its id, of deep groups loaded together.
template <int deep = 4, class F> DEVICE void each(const Row<float> &row, F &&f) {
  const int groups = ceil_div(row.n, 4);
  ROLLED for (int g = thread(); g < groups; g += deep * THREADS) {
    float v[deep][4] = {};
    UNROLL for (int d = 0; d < deep; d++) {
      if (g + d * THREADS < groups) row.group(g + d * THREADS, v[d], 0.f);
    }
    ROLLED for (int d = 0; d < deep; d++) {
      const int id = (g + d * THREADS) * 4;
      UNROLL for (int i = 0; i < 4; i++) {
        if (id + i < row.n) f(v[0][i], id + i);
      }
      UNROLL for (int e = 0; e + 1 < deep; e++) UNROLL for (int i = 0; i < 4; i++) v[e][i] = v[e + 1][i];
    }
  }
}

// Question asks for the largest value among those >= floor for which the words >= it reach what is needed.
struct Question {
  Row<float> row;
  float floor, top;
  float scale;  // bins a unit of distance from top
  bool mass;    // words weigh e^(z-top) and share of all is needed, else 1 each and need is
  bool bounded; // in the last bin, which holds all that is far, nothing is looked for: all remain
  u64 need;
  float share;

  DEVICE bool takes(float z) const { return z >= floor; }
  DEVICE int bin(float z) const { return (int)min((top - z) * scale, (float)(BINS - 1)); }
  DEVICE u64 weight(float z) const { return mass ? (u64)(ex2((z - top) * LOG2E) * 0x1p44f) : 1; }
};

// histogram adds up the weights of the bins.
DEVICE void histogram(Memory &m, const Question &q) {
  UNROLL for (int i = 0; i < BINS_A_THREAD; i++) m.low[thread() + i * THREADS] = m.high[thread() + i * THREADS] = 0;
  if (thread() == 0) m.bin = BINS, m.candidates = 0;
  barrier();
  each(q.row, [&](float z, int) {
    if (!q.takes(z)) return;
    const int b = q.bin(z);
    const u64 w = q.weight(z);
    const u32 add = (u32)w, old = atomic_add_shared(&m.low[b], add);
    const u32 carry = (u32)(w >> 32) + (old + add < old);
    if (carry) atomic_add_shared(&m.high[b], carry);
  });
  barrier();
}

// locate finds the bin where the need is reached and what is above it; need becomes what the share of all is. It is false
// where all words together do not reach it.
DEVICE bool locate(Memory &m, Question &q) {
  u64 bins[BINS_A_THREAD], own = 0;
  UNROLL for (int i = 0; i < BINS_A_THREAD; i++) {
    const int b = thread() * BINS_A_THREAD + i;
    bins[i] = (u64)m.high[b] << 32 | m.low[b];
    own += bins[i];
  }
  const u64 all = total(m, own);
  if (q.mass) q.need = (u64)((double)q.share * (double)all);
  if (q.need == 0) q.need = 1;
  if (q.need > all) return false;
  u64 before = own; // of this lane and those in front of it, then without its own
  UNROLL for (int i = 1; i < 32; i <<= 1) {
    const int from = max((int)lane() - i, 0);
    const u64 v = (u64)shuffle((u32)(before >> 32), from) << 32 | shuffle((u32)before, from);
    if ((int)lane() >= i) before += v;
  }
  if (lane() == 31) m.part[thread() >> 5] = before;
  barrier();
  before -= own;
  for (int w = 0; w < (int)(thread() >> 5); w++) before += m.part[w];
  UNROLL for (int i = 0; i < BINS_A_THREAD; i++) {
    if (before < q.need && before + bins[i] >= q.need) m.bin = thread() * BINS_A_THREAD + i, m.above = before;
    before += bins[i];
  }
  barrier();
  return true;
}

// bits finds the answer's bits from the top, a pass each.
DEVICE float bits(Memory &m, const Question &q) {
  u32 answer = 0;
  ROLLED for (int bit = 31; bit >= 0; bit--) {
    const u32 least = answer | 1u << bit;
    u64 reached = 0;
    each<1>(q.row, [&](float z, int) {
      if (q.takes(z) && key(z) >= least) reached += q.weight(z);
    });
    if (total(m, reached) >= q.need) answer = least;
  }
  return float_of(answer);
}

DEVICE float threshold(Memory &m, Question &q) {
  histogram(m, q);
  if (!locate(m, q)) return -infinity();
  const int bin = m.bin;
  const u64 above = m.above;
  if (q.bounded && bin == BINS - 1) return -infinity();
  each(q.row, [&](float z, int) {
    if (!q.takes(z) || q.bin(z) != bin) return;
    const u32 at = atomic_add_shared(&m.candidates, 1);
    if (at < CANDIDATES) m.z[at] = z, m.weight[at] = q.weight(z);
  });
  barrier();
  const int n = m.candidates;
  if (n > CANDIDATES) return bits(m, q);
  u64 best = 0;
  ROLLED for (int i = thread(); i < n; i += THREADS) {
    const float z = m.z[i];
    u64 reached = above;
    for (int j = 0; j < n; j++) reached += m.z[j] >= z ? m.weight[j] : 0;
    if (reached >= q.need && key(z) > best) best = key(z);
  }
  return float_of((u32)largest(m, best));
}

// log is the natural logarithm of a positive normal number, to about 2e-7: x = m·2^e, m between √½ and √2, and
// ln m = 2 artanh s, s = (m-1)/(m+1).
DEVICE float log(float x) {
  const int e = (int)(as_bits(x) - 0x3f3504f3) >> 23;
  const float m = as_float(as_bits(x) - (u32)(e << 23)), s = (m - 1) * rcp(m + 1), s2 = s * s;
  float p = fma(s2, 2.f / 9, 2.f / 7);
  p = fma(s2, p, 2.f / 5);
  p = fma(s2, p, 2.f / 3);
  p = fma(s2 * s, p, 2 * s);
  return fma((float)e, LN2, p);
}

// delay is E = -ln(1-u), by 2 artanh(u/(2-u)) where 1-u would lose digits of u.
DEVICE float delay(float u) {
  if (u >= 0.25f) return -log(1 - u);
  const float s = u * rcp(2 - u), s2 = s * s;
  float p = fma(s2, 2.f / 7, 2.f / 5);
  p = fma(s2, p, 2.f / 3);
  return fma(s2 * s, p, 2 * s);
}

// philox is runtime.Philox of the counter (group, step, 0, 0).
DEVICE void philox(u32 *c, u32 group, u32 step, u32 k0, u32 k1) {
  c[0] = group, c[1] = step, c[2] = 0, c[3] = 0;
  UNROLL for (int i = 0; i < 10; i++) {
    const u64 a = (u64)c[0] * 0xd2511f53u, b = (u64)c[2] * 0xcd9e8d57u;
    c[0] = (u32)(b >> 32) ^ c[1] ^ k0, c[1] = (u32)b;
    c[2] = (u32)(a >> 32) ^ c[3] ^ k1, c[3] = (u32)a;
    k0 += 0x9e3779b9u, k1 += 0xbb67ae85u;
  }
}

// uniform is runtime.Uniform of a word.
DEVICE float uniform(u32 word) { return min(((float)word + 0.5f) * 0x1p-32f, 1 - 0x1p-24f); }

// race is point 5, over the words >= floor. A word wins only where E < e^(z-best), and E >= u, so that most need no
// logarithms; the largest word's E is at most 24·ln 2, which bounds the winner from the start.
DEVICE int race(Memory &m, const Row<float> &row, float floor, float top, const int *ints) {
  const u32 k0 = ints[INT_SEED_LOW], k1 = ints[INT_SEED_HIGH], step = ints[INT_STEP];
  const float least = max(floor, top - HOPELESS);
  float best = top - 2.82f; // > ln(24·ln 2)
  u64 winner = 0;
  ROLLED for (int g = thread(); g < ceil_div(row.n, 4); g += THREADS) {
    float z[4];
    row.group(g, z, -infinity());
    if (!(max(max(z[0], z[1]), max(z[2], z[3])) >= least)) continue;
    u32 words[4];
    philox(words, g, step, k0, k1);
    UNROLL for (int i = 0; i < 4; i++) {
      const float u = uniform(words[i]);
      if (!(z[i] >= least) || u >= ex2((z[i] - best) * LOG2E) * 1.0001f) continue;
      const float v = z[i] - log(delay(u));
      if (v > best) best = v;
      const u64 r = rank(v, g * 4 + i);
      if (r > winner) winner = r;
    }
  }
  return id_of(largest(m, winner));
}

// Slot is the sampling state of one sequence.
struct Slot {
  const float *params, *bias;
  const int *ints, *mask;
  int *counts;
};

// process is points 2 and 3 and the division by the temperature for a whole row, into work. It returns the largest of the
// undivided logits.
DEVICE u64 process(Memory &m, const Row<float> &raw, const Slot &s, float *work, float temperature, bool early) {
#pragma clang fp contract(off)
  const int flags = s.ints[INT_FLAGS], groups = ceil_div(raw.n, 4);
  const float repetition = s.params[PARAM_REPETITION], frequency = s.params[PARAM_FREQUENCY], presence = s.params[PARAM_PRESENCE];
  const Row<float> bias(s.bias, raw.n);
  const Row<int> counts(s.counts, raw.n);
  u64 best = 0;
  ROLLED for (int g = thread(); g < groups; g += THREADS) {
    float z[4];
    raw.group(g, z, -infinity());
    u32 excluded = 0; // by bits
    if (early) {
      ROLLED for (int i = 0; i < MAX_ENDS; i++) {
        if (m.ends[i] >> 2 == g) excluded |= 1u << (m.ends[i] & 3);
      }
    }
    if (flags & MASKED) excluded |= ~((u32)s.mask[g >> 3] >> (g & 7) * 4) & 15;
    UNROLL for (int i = 0; i < 4; i++) {
      if (excluded >> i & 1) z[i] = -infinity();
    }
    if (flags & BIASED) {
      float b[4];
      bias.group(g, b, 0.f);
      UNROLL for (int i = 0; i < 4; i++) z[i] += b[i];
    }
    if (flags & PENALISED) {
      int c[4];
      counts.group(g, c, 0);
      UNROLL for (int i = 0; i < 4; i++) {
        if (c[i] == 0) continue;
        z[i] = z[i] > 0 ? z[i] / repetition : z[i] * repetition;
        const int count = c[i] & 0x7fffffff;
        if (count > 0) z[i] -= frequency * (float)count + presence;
      }
    }
    UNROLL for (int i = 0; i < 4; i++) {
      const u64 r = g * 4 + i < raw.n ? rank(z[i], g * 4 + i) : 0;
      if (r > best) best = r;
    }
    if (temperature == 0) continue;
    store<float4>(work + 4 * (i64)g, {z[0] / temperature, z[1] / temperature, z[2] / temperature, z[3] / temperature});
  }
  return largest(m, best);
}

// draw is points 4 and 5 over what process left in work.
DEVICE int draw(Memory &m, const Row<float> &z, const Slot &s, float top) {
  Question q = {z, -infinity(), top, (BINS - 1) / HOPELESS, false, true, 0, 0};
  const float min_p = s.params[PARAM_MIN_P];
  if (min_p > 0) {
    const double least = (double)top + (double)log(min_p);
    q.floor = (float)least;
    if ((double)q.floor < least) q.floor = float_of(key(q.floor) + 1);
  }
  const int top_k = s.ints[INT_TOP_K];
  q.need = top_k, q.share = s.params[PARAM_TOP_P];
  ROLLED for (int stage = 0; stage < 2; stage++) { // by count, then by mass
    q.mass = stage;
    if (q.mass ? q.share < 1 : top_k > 0 && top_k < z.n) q.floor = max(q.floor, threshold(m, q));
  }
  return race(m, z, q.floor, top, s.ints);
}

// report lists the wanted most likely words and their log-probabilities z - norm.
DEVICE void report(Memory &m, const Row<float> &raw, float top, float norm, int wanted, int *tokens, float *logprobs) {
  if (wanted < 1) return;
  Question q = {raw, -infinity(), top, (BINS - 1) / ALL, false, false, (u64)wanted, 0};
  const float least = threshold(m, q);
  if (thread() == 0) m.candidates = 0;
  barrier();
  each(raw, [&](float z, int id) { // fewer than are wanted, for least itself is one of them
    if (!(z > least)) return;
    const u32 at = atomic_add_shared(&m.candidates, 1);
    if (at < CANDIDATES) m.weight[at] = rank(z, id), m.z[at] = z;
  });
  barrier();
  const int n = m.candidates;
  ROLLED for (int i = thread(); i < n; i += THREADS) {
    int place = 0;
    for (int j = 0; j < n; j++) place += m.weight[j] > m.weight[i];
    tokens[place] = id_of(m.weight[i]), logprobs[place] = m.z[i] - norm;
  }
  u64 last = BAD;
  ROLLED for (int i = n; i < wanted; i++) { // those that equal least, the lowest id first
    u64 next = 0;
    each<1>(raw, [&](float z, int id) {
      const u64 r = rank(z, id);
      if (z == least && r < last && r > next) next = r;
    });
    last = largest(m, next);
    if (thread() == 0) tokens[i] = id_of(last), logprobs[i] = least - norm;
  }
}

KERNEL __launch_bounds__(512, 1) sample(const Sample a) {
  __shared__ Memory m;
  const int row = block(), slot = a.rows[row];
  if ((u32)slot >= (u32)a.slots) return;
  const Row<float> raw(a.logits + (i64)row * a.ld, a.vocab);
  const Slot s = {a.params + (i64)slot * NUM_PARAMS, a.bias + (i64)slot * a.vocab, a.ints + (i64)slot * NUM_INTS,
                  a.mask + (i64)slot * ceil_div(a.vocab, 32), a.counts + (i64)slot * a.vocab};
  if (thread() < MAX_ENDS) m.ends[thread()] = a.ends[(i64)slot * MAX_ENDS + thread()];

  float most = -infinity();
  int at = 0;
  bool bad = false;
  each(raw, [&](float z, int id) {
    bad |= !(z < infinity());
    if (z > most) most = z, at = id;
  });
  const u64 first = largest(m, bad ? BAD : most == -infinity() ? 0 : rank(most, at));
  int id = -1;
  if (first != BAD && first != 0) {
    const float temperature = s.params[PARAM_TEMPERATURE];
    const bool early = s.ints[INT_STEP] < s.ints[INT_MIN_TOKENS];
    u64 best = first;
    float *work = a.work + (i64)row * a.ldwork;
    if (early || s.ints[INT_FLAGS] || temperature != 0) best = process(m, raw, s, work, temperature, early);
    const float top = float_of((u32)(best >> 32));
    if (top > -infinity()) {
      id = id_of(best);
      const float divided = top / temperature;
      if (temperature != 0 && abs(divided) < infinity()) id = draw(m, Row<float>(work, a.vocab), s, divided);
    }
  }

  const int asked = s.ints[INT_TOP], wanted = id < 0 || asked < 0 ? -1 : min(min(asked, a.top), a.vocab);
  int *tokens = a.tokens + (i64)row * (1 + a.top);
  float *logprobs = a.logprobs + (i64)row * (1 + a.top);
  for (int i = max(wanted, 0) + thread(); i < a.top; i += THREADS) tokens[1 + i] = -1, logprobs[1 + i] = 0;
  float chosen = 0;
  if (wanted >= 0) {
    const float top = float_of((u32)(first >> 32));
    float weight = 0;
    each(raw, [&](float z, int) { weight += ex2((z - top) * LOG2E); });
    const float norm = top + log(sum(m, weight));
    chosen = raw.at[id] - norm;
    report(m, raw, top, norm, wanted, tokens + 1, logprobs + 1);
  }
  barrier(); // all have read the slot
  if (thread() != 0) return;
  tokens[0] = a.ids[row] = id, logprobs[0] = chosen;
  a.ints[(i64)slot * NUM_INTS + INT_STEP]++;
  if (id >= 0) s.counts[id]++;
  if (a.pos) a.pos[row]++;
  if (a.past) a.past[row]++;
}
