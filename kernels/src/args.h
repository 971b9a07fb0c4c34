// The structs that kernels take; ../args.go says what they mean.
#pragma once

enum GemmFlags { GATE = 1, ADD = 2, OUT_F32 = 4 };
enum Act { ACT_NONE, ACT_RELU, ACT_TANH, ACT_SIGMOID, ACT_SILU, ACT_GELU, ACT_GELU_TANH, ACT_QUICK_GELU };
enum NormKind { NORM_NONE = -1, LAYER_NORM, RMS_NORM, L2_NORM };
enum Pooling { POOL_FIRST, POOL_LAST, POOL_MEAN, POOL_MAX, POOL_SUM, POOL_MEAN_SQRT, POOL_WEIGHTED };

struct Gemm {
  const void *x, *w;
  void *y;
  const float *bias;
  int m, n, k;
  int ldx, ldw, ldy;
  int act;
  float cap;
  unsigned flags, pad;
};

struct Norm {
  const void *x, *r;
  void *y;
  const float *w, *b;
  int rows, width;
  int ldx, ldr, ldy;
  int kind;
  float eps;
  unsigned pad;
};

struct Embed {
  const int *ids, *pos;
  const void *word, *position, *type;
  void *y;
  const float *w, *b;
  int rows, width;
  int ldt, ldy;
  int vocab, positions;
  int kind;
  float scale, eps;
  unsigned pad;
};

struct Gather {
  const void *x;
  const int *rows;
  void *y;
  int n, cols;
  int ldx, ldy;
  int limit;
  unsigned pad;
};

struct Pool {
  const void *x;
  const int *ranges;
  float *y;
  int n, width;
  int ldx, ldr, ldy;
  int how;
  int limit;
  unsigned pad;
};

struct Angles {
  const float *freqs;
  const int *pos, *cum, *variant;
  float *y;
  int rows, sequences;
  int half, ldf, variants;
  float factor;
};

struct Rotate {
  const void *x;
  void *y;
  const float *angles, *w, *b;
  int rows, heads, dim;
  int ldx, ldy, lda;
  int half, interleaved;
  int kind;
  float eps;
};

struct Convert {
  const void *x;
  void *y;
  int rows, cols, width;
  int ldx, ldy;
  unsigned pad;
};

struct Attention {
  const void *q, *k, *v;
  void *y;
  const int *cum;
  const float *bias;
  int rows, sequences;
  int heads, kvheads, dim;
  int ldq, ldk, ldv, ldy;
  int window, causal, reach;
  float scale, cap;
};
