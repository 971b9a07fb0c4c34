// Norms of rows, and embeddings that end in one.
//
//   norm_{x}_{y}    y = n(x + r), or y += it            LayerNorm, RMSNorm or L2Norm over [rows, width]
//   embed_{t}_{y}   y = n(scale·word[id] + position[pos] + type)
//
// A row belongs to a team: one warp up to 1,024 columns, else the whole block. Thread i of a team has columns 4i to 4i+3,
// then those 4·team further on, so that every type is loaded and stored in full sectors; its sums are joined by one tree.
// All of that depends on the width alone, so a row's bits depend neither on the rows beside it nor on alignment. Rows of
// up to 8,192 aligned columns stay in registers, all their loads issued before the first use; others are read again in
// every pass. The variance is of deviations from the mean, in a second pass: a large mean leaves its digits alone.
#include "args.h"
#include "math.h"

constexpr int THREADS = 256, NARROW = 1024; // norm's and embed's Grid in table_rows.go know both
constexpr int HELD = 8;                     // chunks of 4 columns that a thread keeps in registers

// Four elements by one load or store; word is how they travel.
template <class T> struct Four {
  using word = uint2;
};
template <> struct Four<float> {
  using word = float4;
};
template <class T> DEVICE float4 unpack(uint2 v) { return float4{low<T>(v.x), high<T>(v.x), low<T>(v.y), high<T>(v.y)}; }
template <class T> DEVICE float4 unpack(float4 v) { return v; }
template <class T> DEVICE void store4(T *p, float4 v) { store(p, uint2{pack<T>(v.x, v.y), pack<T>(v.z, v.w)}); }
template <> DEVICE void store4<float>(float *p, float4 v) { store(p, v); }

template <class T> DEVICE bool aligned4(const T *p, int ld) {
  return ((u64)p & (4 * sizeof(T) - 1)) == 0 && (ld & 3) == 0;
}
// load4 are elements c to c+3 of a row of n, one at a time; past the end they are zero.
template <class T> DEVICE float4 load4(const T *p, int c, int n) {
  float4 v = {0, 0, 0, 0};
  if (c < n) v.x = widen(p[c]);
  if (c + 1 < n) v.y = widen(p[c + 1]);
  if (c + 2 < n) v.z = widen(p[c + 2]);
  if (c + 3 < n) v.w = widen(p[c + 3]);
  return v;
}

// Sum is one row of two or three tables: fma(a, scale, b) + c. Absent ones are null.
template <class T, int Tables> struct Sum {
  const T *a, *b, *c;
  float scale;

  DEVICE float4 join(float4 x, float4 y, float4 z) const {
    float4 v = {fma(x.x, scale, y.x), fma(x.y, scale, y.y), fma(x.z, scale, y.z), fma(x.w, scale, y.w)};
    if constexpr (Tables == 3) v.x += z.x, v.y += z.y, v.z += z.z, v.w += z.w;
    return v;
  }
  DEVICE float4 at(int column, int width) const {
    const float4 none = {0, 0, 0, 0};
    return join(a ? load4(a, column, width) : none, b ? load4(b, column, width) : none, c ? load4(c, column, width) : none);
  }
  static DEVICE void fetch(typename Four<T>::word *v, const T *row, int first, int team, int chunks) {
    UNROLL for (int i = 0; i < HELD; i++) v[i] = {};
    if (!row) return;
    UNROLL for (int i = 0; i < HELD; i++) {
      const int c = first + i * team;
      if (c < chunks) v[i] = load<typename Four<T>::word>(row + 4 * c);
    }
  }
  // held reads chunks first, first+team, ... of an aligned row; past its end they are zero.
  DEVICE void held(float4 *v, int first, int team, int chunks) const {
    typename Four<T>::word x[HELD], y[HELD], z[HELD];
    fetch(x, a, first, team, chunks);
    fetch(y, b, first, team, chunks);
    fetch(z, c, first, team, chunks);
    UNROLL for (int i = 0; i < HELD; i++) v[i] = join(unpack<T>(x[i]), unpack<T>(y[i]), unpack<T>(z[i]));
  }
};

enum Pass { MEAN, SQUARES, WRITE };

struct Affine {
  const float *w, *b;
  int width, kind;
  float eps;
  bool add; // to what y holds

  DEVICE int first_pass() const { return kind == LAYER_NORM ? MEAN : kind == NORM_NONE ? WRITE : SQUARES; }
  // inverse is the factor of a deviation, given the sum of the deviations' squares.
  DEVICE float inverse(float squares) const {
    if (kind == L2_NORM) return 1.f / max(__builtin_sqrtf(squares), eps);
    return 1.f / __builtin_sqrtf(squares / (float)width + eps);
  }
  struct Four {
    float4 w, b;
  };
  DEVICE Four vectors(int c) const {
    Four f = {{1, 1, 1, 1}, {0, 0, 0, 0}};
    if (w) f.w = load<float4>(w + c);
    if (b) f.b = load<float4>(b + c);
    return f;
  }
  DEVICE Four elements(int c) const {
    Four f = {{1, 1, 1, 1}, {0, 0, 0, 0}};
    if (w) f.w = load4(w, c, width);
    if (b) f.b = load4(b, c, width);
    return f;
  }
  DEVICE float4 apply(float4 v, Four f, float mean, float inverse) const {
    return float4{fma((v.x - mean) * inverse, f.w.x, f.b.x), fma((v.y - mean) * inverse, f.w.y, f.b.y),
                  fma((v.z - mean) * inverse, f.w.z, f.b.z), fma((v.w - mean) * inverse, f.w.w, f.b.w)};
  }
};

DEVICE float add4(float s, float4 v) { return s + ((v.x + v.y) + (v.z + v.w)); }
DEVICE float4 sum4(float4 a, float4 b) { return float4{a.x + b.x, a.y + b.y, a.z + b.z, a.w + b.w}; }
DEVICE float square4(float s, float4 v, float mean) {
  const float x = v.x - mean, y = v.y - mean, z = v.z - mean, w = v.w - mean;
  return fma(w, w, fma(z, z, fma(y, y, fma(x, x, s))));
}

// team_sum joins the sums of a team's threads: of the lanes by the warp's tree, of the warps in order.
DEVICE float team_sum(float v, int team, float *partial) {
  v = warp_sum(v);
  if (team == 32) return v;
  barrier(); // the last sum has been read
  if (lane() == 0) partial[thread() >> 5] = v;
  barrier();
  v = 0;
  UNROLL for (int i = 0; i < THREADS / 32; i++) v += partial[i];
  return v;
}

// by_vectors norms an aligned row whose width is a multiple of 4. The loops over passes and panels stay loops: what they
// share, the loads, is there once. A row of one panel is loaded in its first pass only.
template <class T, int Tables, class Y>
DEVICE void by_vectors(const Sum<T, Tables> &x, const Affine &n, Y *y, int first, int team, float *partial) {
  const int chunks = n.width >> 2, panel = HELD * team;
  float4 v[HELD];
  float mean = 0, inverse = 1;
  bool loaded = false;
  ROLLED for (int pass = n.first_pass(); pass <= WRITE; pass++) {
    float s = 0;
    ROLLED for (int p = first; p < chunks + first; p += panel) {
      if (!loaded || chunks > panel) x.held(v, p, team, chunks);
      loaded = true;
      if (pass == WRITE) {
        UNROLL for (int i = 0; i < HELD; i++) {
          const int c = p + i * team;
          if (c < chunks) {
            float4 o = n.apply(v[i], n.vectors(4 * c), mean, inverse);
            if (n.add) o = sum4(o, unpack<Y>(load<typename Four<Y>::word>(y + 4 * c)));
            store4(y + 4 * c, o);
          }
        }
      } else if (pass == MEAN) {
        UNROLL for (int i = 0; i < HELD; i++) s = add4(s, v[i]); // zeros past the end
      } else {
        UNROLL for (int i = 0; i < HELD; i++) if (p + i * team < chunks) s = square4(s, v[i], mean);
      }
    }
    if (pass == MEAN) mean = team_sum(s, team, partial) / (float)n.width;
    if (pass == SQUARES) inverse = n.inverse(team_sum(s, team, partial));
  }
}

// by_elements norms any row, in the same order of sums.
template <class T, int Tables, class Y>
DEVICE void by_elements(const Sum<T, Tables> &x, const Affine &n, Y *y, int first, int team, float *partial) {
  float mean = 0, inverse = 1;
  ROLLED for (int pass = n.first_pass(); pass <= WRITE; pass++) {
    float s = 0;
    ROLLED for (int c = 4 * first; c < n.width; c += 4 * team) {
      float4 v = x.at(c, n.width);
      const int left = n.width - c;
      if (pass == WRITE) {
        v = n.apply(v, n.elements(c), mean, inverse);
        if (n.add) v = sum4(v, load4(y, c, n.width));
        y[c] = narrow<Y>(v.x);
        if (left > 1) y[c + 1] = narrow<Y>(v.y);
        if (left > 2) y[c + 2] = narrow<Y>(v.z);
        if (left > 3) y[c + 3] = narrow<Y>(v.w);
      } else if (pass == MEAN) {
        s = add4(s, v);
      } else { // columns past the end are no deviations
        s = square4(s, float4{v.x, left > 1 ? v.y : mean, left > 2 ? v.z : mean, left > 3 ? v.w : mean}, mean);
      }
    }
    if (pass == MEAN) mean = team_sum(s, team, partial) / (float)n.width;
    if (pass == SQUARES) inverse = n.inverse(team_sum(s, team, partial));
  }
}

DEVICE int team_of(int width) { return width <= NARROW ? 32 : THREADS; }

template <class T, int Tables, class Y>
DEVICE void norm_row(const Sum<T, Tables> &x, const Affine &n, Y *y, bool aligned, int team, float *partial) {
  const int first = thread() & (team - 1);
  if (aligned) by_vectors(x, n, y, first, team, partial);
  else by_elements(x, n, y, first, team, partial);
}

template <class T, class Y> DEVICE void norm(const Norm &a) {
  __shared__ float partial[THREADS / 32];
  const int team = team_of(a.width), row = block() * (THREADS / team) + thread() / team;
  if (row >= a.rows) return;
  const T *x = (const T *)a.x, *r = (const T *)a.r;
  Y *y = (Y *)a.y;
  const bool aligned = (a.width & 3) == 0 && aligned4(x, a.ldx) && aligned4(r, r ? a.ldr : 0) && aligned4(y, a.ldy) &&
                       aligned4(a.w, 0) && aligned4(a.b, 0);
  const Sum<T, 2> sum = {x + (i64)row * a.ldx, r ? r + (i64)row * a.ldr : nullptr, nullptr, 1.f};
  norm_row(sum, Affine{a.w, a.b, a.width, a.kind, a.eps, a.add != 0}, y + (i64)row * a.ldy, aligned, team, partial);
}

template <class T, class Y> DEVICE void embed(const Embed &a) {
  __shared__ float partial[THREADS / 32];
  const int team = team_of(a.width), row = block() * (THREADS / team) + thread() / team;
  if (row >= a.rows) return;
  const T *word = (const T *)a.word, *position = (const T *)a.position, *type = (const T *)a.type;
  Y *y = (Y *)a.y;
  const bool aligned = (a.width & 3) == 0 && aligned4(word, a.ldt) && aligned4(position, a.ldt) && aligned4(type, 0) &&
                       aligned4(y, a.ldy) && aligned4(a.w, 0) && aligned4(a.b, 0);
  Sum<T, 3> sum = {nullptr, nullptr, type, a.scale};
  if (word) {
    const int id = a.ids[row];
    if ((u32)id < (u32)a.vocab) sum.a = word + (i64)id * a.ldt;
  }
  if (position) {
    const int pos = a.pos[row];
    if ((u32)pos < (u32)a.positions) sum.b = position + (i64)pos * a.ldt;
  }
  norm_row(sum, Affine{a.w, a.b, a.width, a.kind, a.eps, false}, y + (i64)row * a.ldy, aligned, team, partial);
}

KERNEL __launch_bounds__(THREADS, 2) norm_f32_f32(const Norm a) { norm<float, float>(a); }
KERNEL __launch_bounds__(THREADS, 2) norm_f32_f16(const Norm a) { norm<float, f16>(a); }
KERNEL __launch_bounds__(THREADS, 3) norm_f16_f16(const Norm a) { norm<f16, f16>(a); }
KERNEL __launch_bounds__(THREADS, 2) embed_f32_f32(const Embed a) { embed<float, float>(a); }
KERNEL __launch_bounds__(THREADS, 2) embed_f16_f16(const Embed a) { embed<f16, f16>(a); }
KERNEL __launch_bounds__(THREADS, 2) embed_f16_f32(const Embed a) { embed<f16, float>(a); }
#if __CUDA_ARCH__ >= 800
KERNEL __launch_bounds__(THREADS, 2) norm_f32_bf16(const Norm a) { norm<float, bf16>(a); }
KERNEL __launch_bounds__(THREADS, 3) norm_bf16_bf16(const Norm a) { norm<bf16, bf16>(a); }
KERNEL __launch_bounds__(THREADS, 2) embed_bf16_bf16(const Embed a) { embed<bf16, bf16>(a); }
KERNEL __launch_bounds__(THREADS, 2) embed_bf16_f32(const Embed a) { embed<bf16, float>(a); }
#endif
