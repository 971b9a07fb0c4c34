package mutation

import "remote-client-server/kernels"

const (
	sm75  = kernels.SM75
	sm80  = kernels.SM80
	sm90a = kernels.SM90A
)

// mutants are the planted bugs, each of which changes what the kernel means for some operands.
var mutants = []mutant{
	// Barriers, waits and fences: what a GPU forgives most of the time.
	{"no barrier behind the wait for copies", "gemm_bf16_64x64", sm80, "", `bar\.sync 0;`, 0, ""},
	{"no barrier before the epilogue takes the ring", "gemm_bf16_64x64", sm80, "", `bar\.sync 0;`, 1, ""},
	{"a group of copies not waited for", "gemm_bf16_64x64", sm80, "", `cp\.async\.wait_group 1;`, 0, "cp.async.wait_group 2;"},
	{"copies not committed", "gemm_bf16_64x64", sm80, "", `cp\.async\.commit_group;`, 0, ""},
	{"no barrier behind the first stores", "gemm_f16_64x64", sm75, "", `bar\.sync 0;`, 0, ""},
	{"no barrier between the two buffers", "gemm_f16_64x64", sm75, "", `bar\.sync 0;`, 1, ""},
	{"no barrier behind the first stores", "gemm_f32_64x64", sm80, "", `bar\.sync 0;`, 0, ""},
	{"no barrier before the warps' sums are joined", "gemv_bf16_8", sm80, "", `bar\.sync 0;`, 0, ""},
	{"no barrier between the queries and the values", "attention_bf16_64", sm80, "", `bar\.sync 0;`, 1, ""},
	{"values not waited for", "attention_bf16_64", sm80, "attention.cu", "wait_copies<0>();\n    barrier(); // the values", 0, "wait_copies<1>();\n    barrier(); // the values"},
	{"no barrier behind the values", "attention_bf16_64", sm80, "attention.cu", "barrier(); // the next keys", 0, "// the next keys"},
	{"no warp barrier before the rows of the result are read", "attention_bf16_64", sm80, "", `bar\.warp\.sync 0xffffffff;`, 0, ""},
	{"keys not waited for, with loads instead of copies", "attention_f16_64", sm75, "", `bar\.sync 0;`, 2, ""},
	{"no barrier before the partial sums are overwritten", "norm_f32_bf16", sm80, "norm.cu", "barrier(); // the last sum has been read", 0, ""},
	{"no barrier before the partial sums are read", "norm_f32_bf16", sm80, "", `bar\.sync 0;`, 1, ""},
	{"no barrier before the next sums", "pool_bf16", sm80, "", `bar\.sync 0;`, 0, ""},
	{"no barrier before the tile is overwritten", "attention_any_f32", sm80, "attentionany.cu", "barrier(); // the tile has been used", 0, ""},
	{"no wgmma.fence", "wgmma_bf16_128x128", sm90a, "", `wgmma\.fence\.sync\.aligned;`, 0, ""},
	{"a product in flight at the end", "wgmma_bf16_128x128", sm90a, "", `wgmma\.wait_group\.sync\.aligned 0;`, 0, "wgmma.wait_group.sync.aligned 1;"},
	{"a stage released before its products are done", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "wgmma_wait<1>();", 0, "wgmma_wait<2>();"},
	{"the wrong stage released", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "if (leader && k) mbarrier_arrive(before);", 0, "if (leader && k) mbarrier_arrive(empty + ring.slot * 8);"},
	{"a stage never released", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "if (leader && a.k) mbarrier_arrive(before);", 0, ""},
	{"no barrier behind the mbarriers' init", "wgmma_bf16_128x128", sm90a, "", `bar\.sync 0;`, 0, ""},
	{"mbarriers for one group instead of two", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "mbarrier_init(e + s * 8, 2)", 0, "mbarrier_init(e + s * 8, 1)"},
	{"too few bytes announced", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "mbarrier_expect(b, stage)", 0, "mbarrier_expect(b, stage - 128)"},
	{"the wrong parity at first", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "Ring ring(1);", 0, "Ring ring(0);"},
	{"a parity that never turns", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "slot = 0, parity ^= 1", 0, "slot = 0"},

	// Layouts: fragments, swizzles, addresses.
	{"a fragment from 16 bytes further on", "gemm_bf16_64x64", sm80, "", `(ldmatrix\S+ \{[^}]*\}, \[%r\d+)\+0\]`, 0, "${1}+16]"},
	{"two registers of a fragment swapped", "gemm_bf16_64x64", sm80, "", `(mma\.sync\S+ \{[^}]*\}, \{)(%r\d+),(%r\d+)`, 0, "${1}${3},${2}"},
	{"the wrong chunks of a row", "gemm_bf16_64x64", sm80, "gemm.cu", "x_at = swizzle(wm + (l & 15), l >> 4)", 0, "x_at = swizzle(wm + (l & 15), l >> 4 ^ 1)"},
	{"another swizzle for reading than for writing", "gemm_f16_128x128", sm80, "gemm.cu", "to = swizzle(r, c);", 0, "to = r * row_bytes + (c ^ (r & 3)) * 16;"},
	{"the k halves of two products swapped", "gemm_f16_64x64", sm75, "mma.h", "mma_k8(d, a[2], a[3], b[1]);", 0, "mma_k8(d, a[2], a[3], b[0]);"},
	{"rows of a fragment below each other swapped", "gemm_f16_128x128", sm80, "epilogue.h", "*(float2 *)(p + 8 * stage_stride) = {d[2], d[3]};", 0, "*(float2 *)(p + 8 * stage_stride) = {d[3], d[2]};"},
	{"a product's second operand not advanced", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "ws + kk * 2", 0, "ws"},
	{"coordinates of a copy swapped", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "copy_tile(to, x, b, k, m0);", 0, "copy_tile(to, x, b, m0, k);"},
	{"the last tile's sums kept", "wgmma_bf16_128x128", sm90a, "wgmma.cu", "kk ? 1 : k)", 0, "1)"},
	{"values not transposed", "attention_bf16_64", sm80, "attention.cu", "ldmatrix_transposed<", 0, "ldmatrix<"},
	{"weights packed the wrong way round", "attention_bf16_64", sm80, "attention.cu", "pack<T>(s[i][0], s[i][1])", 0, "pack<T>(s[i][1], s[i][0])"},
	{"the swizzle of another head size", "attention_bf16_80", sm80, "attention.cu", "((chunk ^ turn(row)) << 4)", 0, "((chunk ^ (row & 1)) << 4)"},
	{"two columns of a lane exchanged", "gemv_bf16_8", sm80, "gemv.cu", "p[8] = acc[j][2]", 0, "p[8] = acc[j][1]"},
	{"the buffers not exchanged", "gemm_f32_64x64", sm80, "gemmf32.cu", "read = write, write = other;", 0, "write = other;"},

	// Bounds and tails.
	{"no zeros past k", "gemm_bf16_64x64", sm80, "", `(cp\.async\.cg\S+ \[%r\d+\+0\], \[%rd\d+\], 16), %r\d+;`, 0, "$1, 16;"},
	{"a row too many stored", "gemm_bf16_64x64", sm80, "epilogue.h", "if (row >= a.m || left <= 0) return;", 0, "if (row > a.m || left <= 0) return;"},
	{"a column too many stored", "gemm_f32_64x64", sm80, "epilogue.h", "if (i < left) y[i]", 0, "if (i <= left) y[i]"},
	{"the bias read past its end", "gemm_f16_64x64", sm75, "epilogue.h", "a.bias && col + i < a.n", 0, "a.bias && col + i <= a.n"},
	{"rows of w past the edge", "gemv_bf16_8", sm80, "gemv.cu", "min(n0 + g + 8, a.n - 1)", 0, "(n0 + g + 8)"},
	{"the tail of k dropped", "gemm_f32_64x64", sm80, "gemmf32.cu", "wv[i] = i < w_left ? w[i] : 0;", 0, "wv[i] = 0;"},
	{"a row too many", "norm_f32_bf16", sm80, "norm.cu", "if (row >= a.rows) return;", 0, "if (row > a.rows) return;"},
	{"a chunk too many", "norm_f32_bf16", sm80, "norm.cu", "if (c < chunks) store4", 0, "if (c <= chunks) store4"},
	{"columns past the end counted as deviations", "norm_f32_bf16", sm80, "norm.cu", "left > 2 ? v.z : mean", 0, "v.z"},
	{"a position just past its table", "embed_bf16_f32", sm80, "norm.cu", "(u32)pos < (u32)a.positions", 0, "(u32)pos <= (u32)a.positions"},
	{"negative ids", "embed_bf16_f32", sm80, "norm.cu", "(u32)id < (u32)a.vocab", 0, "id < a.vocab"},
	{"a row just past the limit", "gather_16", sm80, "rows.cu", "(u32)from < (u32)a.limit", 0, "(u32)from <= (u32)a.limit"},
	{"a range just past the limit", "pool_bf16", sm80, "rows.cu", "to > a.limit", 0, "to > a.limit + 1"},
	{"the last rows of a range dropped", "pool_bf16", sm80, "rows.cu", "ceil_div(to - base, CHUNK)", 0, "(to - base) / CHUNK"},
	{"no zeros behind the columns", "convert_f32_bf16", sm80, "rows.cu", "if (c < min(last, a.cols)) v[i]", 0, "if (c < last) v[i]"},
	{"the last heads of a row", "rotate_bf16", sm80, "rotary.cu", "min(HEADS, a.heads - head)", 0, "HEADS"},
	{"a search that does not end", "angles", sm80, "rotary.cu", "(lo + hi + 1) >> 1", 0, "(lo + hi) >> 1"},
	{"the row at a sequence's begin", "angles", sm80, "rotary.cu", "a.cum[mid] <= row", 0, "a.cum[mid] < row"},
	{"the query itself not seen", "attention_bf16_64", sm80, "attention.h", "causal ? i + 1 :", 0, "causal ? i :"},
	{"a window one key wider", "attention_bf16_64", sm80, "attention.h", "causal ? i - window + 1 :", 0, "causal ? i - window :"},
	{"a bias past its reach", "attention_any_f32", sm80, "attention.h", "bias[max(-reach, min(reach, offset))]", 0, "bias[max(-reach, offset)]"},
	{"tiles at the mask's edge not masked", "attention_bf16_64", sm80, "attention.cu", "key + KEYS > sight.to(span.query) ||", 0, "key > sight.to(span.query) ||"},
	{"rows of the next sequence written", "attention_bf16_64", sm80, "attention.cu", "min(16, span.length - (span.query + (int)w * 16))", 0, "16"},

	// Arithmetic.
	{"a sum over half the lanes", "norm_f32_bf16", sm80, "math.h", "for (int m = 16; m; m >>= 1) v += shuffle_xor(v, m);", 0, "for (int m = 8; m; m >>= 1) v += shuffle_xor(v, m);"},
	{"the last warp's sum forgotten", "norm_f32_bf16", sm80, "norm.cu", "i < THREADS / 32; i++) v += partial[i]", 0, "i < THREADS / 32 - 1; i++) v += partial[i]"},
	{"no eps", "norm_f32_bf16", sm80, "norm.cu", "squares / (float)width + eps", 0, "squares / (float)width"},
	{"the residual forgotten", "norm_f32_bf16", sm80, "norm.cu", "fetch(y, b, first, team, chunks);", 0, "fetch(y, nullptr, first, team, chunks);"},
	{"the scale of the wrong table", "embed_bf16_f32", sm80, "norm.cu", "fma(x.y, scale, y.y)", 0, "fma(y.y, scale, x.y)"},
	{"the sine's sign", "rotate_bf16", sm80, "rotary.cu", "fma(p, cos, -(q * sin))", 0, "fma(p, cos, q * sin)"},
	{"angles of the wrong quarter", "angles", sm80, "math.h", "if ((quarter + 1) & 2) cos = -cos;", 0, "if (quarter & 2) cos = -cos;"},
	{"weights counted from the wrong row", "pool_bf16", sm80, "rows.cu", "origin = (i64)range[2] - 1;", 0, "origin = (i64)range[2];"},
	{"old sums not scaled down", "attention_bf16_64", sm80, "attention.cu", "sum[r] *= keep;", 0, ""},
	{"a maximum over half the keys", "attention_any_f32", sm80, "math.h", "for (int m = 16; m; m >>= 1) v = max", 0, "for (int m = 8; m; m >>= 1) v = max"},
	{"a sum over half the lanes of a row", "attention_bf16_64", sm80, "attention.cu", "sum[r] += shuffle_xor(sum[r], 2);", 0, ""},
	{"rows without a key", "attention_bf16_64", sm80, "attention.cu", "best[r] == -infinity() ? 0.f : best[r] * scale", 0, "best[r] * scale"},
	{"the wrong head of keys", "attention_bf16_64", sm80, "attention.cu", "head / (a.heads / a.kvheads)", 0, "head % a.kvheads"},
	{"gate and up exchanged", "gemm_bf16_64x64", sm80, "epilogue.h", "float g[2] = {v[0], v[2]};", 0, "float g[2] = {v[1], v[3]};"},
	{"the cap forgotten", "gemm_f16_64x64", sm75, "epilogue.h", "if (a.cap != 0) UNROLL for (int i = 0; i < 4; i++)", 0, "if (false) UNROLL for (int i = 0; i < 4; i++)"},
	{"a constant's digit", "gemm_f32_64x64", sm80, "activate.h", "0.044715f", 0, "0.044175f"},
	{"the wrong sign in an activation", "gemm_f32_64x64", sm80, "activate.h", "return fma(-z, p * t", 0, "return fma(z, p * t"},
	{"a warp's partial sum forgotten", "gemv_bf16_8", sm80, "gemv.cu", "for (int p = 1; p < parts; p++)", 0, "for (int p = 2; p < parts; p++)"},
}
