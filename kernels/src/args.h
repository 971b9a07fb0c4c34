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
  unsigned add;
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
  const int *table, *past;
  float *parts;
  unsigned *done;
  int rows, sequences;
  int heads, kvheads, dim;
  int ldq, ldk, ldv, ldy;
  int window, causal, reach;
  float scale, cap;
  int ldt, columns, blocks;
  int first, splits, pad;
};

struct Append {
  const void *q, *k, *v;
  void *y, *keys, *values;
  const float *angles, *qw, *qb, *kw, *kb;
  const int *cum, *table, *past;
  int rows, sequences;
  int heads, kvheads, dim, pitch;
  int ldq, ldk, ldv, ldy, lda;
  int ldt, columns, blocks;
  int half, interleaved;
  int qkind, kkind;
  float qeps, keps;
};

enum SamplingColumns {
  PARAM_TEMPERATURE, PARAM_TOP_P, PARAM_MIN_P, PARAM_REPETITION, PARAM_FREQUENCY, PARAM_PRESENCE, NUM_PARAMS = 8,
  INT_TOP_K = 0, INT_SEED_LOW, INT_SEED_HIGH, INT_STEP, INT_MIN_TOKENS, INT_TOP, INT_FLAGS, NUM_INTS = 8,
  MAX_ENDS = 32
};
enum SamplingFlags { PENALISED = 1, BIASED = 2, MASKED = 4 };

struct Sample {
  const float *logits;
  float *work;
  const float *params;
  int *ints;
  const int *ends;
  int *counts;
  const float *bias;
  const int *mask, *rows;
  int *ids, *tokens;
  float *logprobs;
  int *pos, *past;
  int n, slots, vocab, top;
  int ld, ldwork;
};

struct CopyBlocks {
  void *cache;
  const int *from, *to;
  unsigned long long part, apart;
  int n, parts;
};
