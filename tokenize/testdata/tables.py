"""Writes ../unicode.tab: the character properties that the reference library sees.

The Rust library mixes several versions of Unicode: its categories for BERT are those of 8.0,
its normal forms those of 9.0, its regular expressions and char methods those of their crates.
Every set below is therefore asked of the library itself, code point by code point.

    python tables.py        (needs tokenizers 0.23.3)

Format, all numbers as unsigned LEB128: for every set in the order of SETS the number of ranges,
then for each range the gap after the one before and its length - 1; surrogates count as members of
a range that goes on behind them. Then the lower-case runs (number; gap, length - 1, stride - 1,
zigzag delta) and the scripts (number; gap, length - 1, script).
"""
import base64, os, struct
from tokenizers import Regex, pre_tokenizers as P, normalizers as N

CPS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
SEP = "\uffff"


def ranges(it):
    out = []
    for c in it:
        if out and (out[-1][1] == c - 1 or out[-1][1] == 0xD7FF and c == 0xE000):
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def regex(pat):
    pre, got = P.Split(Regex(pat), "removed", invert=True), set()
    for i in range(0, len(CPS), 65536):
        for s, _ in pre.pre_tokenize_str("".join(map(chr, CPS[i : i + 65536]))):
            got.update(map(ord, s))
    return sorted(got)


def pieces(pre, before, after):
    """Yields (code point, its pieces) for before + c + after."""
    seq = P.Sequence([P.Split(SEP, "removed"), pre])
    for i in range(0, len(CPS), 4096):
        part = [c for c in CPS[i : i + 4096] if c != 0xFFFF]
        text = SEP.join(before + chr(c) + after for c in part)
        n, at, got = len(before) + 1 + len(after), 0, {}
        for s, (a, _) in seq.pre_tokenize_str(text):
            got.setdefault(a // (n + 1), []).append(s)
        for k, c in enumerate(part):
            yield c, got.get(k, [])


def isolated(pre):
    return [c for c, p in pieces(pre, "a", "a") if chr(c) in p and len(p) == 3]


def norm_set(n, test):
    return [c for c in CPS if test(n.normalize_str, chr(c))]


def charsmap(first_bytes):
    """A charsmap that replaces every key that starts with one of the bytes by X."""
    units = [0] * 1024
    root = 256
    units[0] = root << 10
    for b in first_bytes:
        node = root ^ b
        leaf = 512 + b  # offset so that node ^ offset = leaf
        units[node] = ((node ^ leaf) << 10) | 1 << 8 | b
        units[leaf] = 1 << 31 | 0
    blob = struct.pack("<I", 4 * len(units)) + struct.pack("<%dI" % len(units), *units) + b"X\0"
    return N.Precompiled(blob)


def grapheme_sets():
    ascii_, lead = charsmap([ord("a")]).normalize_str, charsmap(range(0xC2, 0xF5)).normalize_str
    hi = [c for c in CPS if c >= 0x80]
    extend = [c for c in hi if ascii_("a" + chr(c)) == "X"]
    prepend = [c for c in hi if lead(chr(c) + "a") == "X"]
    control = [c for c in hi if c < 0x10000 and c not in (0x2028,) and lead(chr(c) + "\u0301") == "XX"] + [0x2028]
    pict = [c for c in hi if lead("\u00a9\u200d" + chr(c) + "\u0301") == "XXXX" and c not in set(extend)]
    consonant = [c for c in hi if lead("\u0915\u094d" + chr(c) + "\u0301") in ("XXXX",) and c not in set(extend) and c < 0x10000]
    linker = [c for c in extend if c < 0x10000 and lead("\u0915" + chr(c) + "\u0915\u0301") == "XXXX"]
    return {"graphemeExtend": extend, "graphemePrepend": prepend, "graphemeControl": sorted(control),
            "graphemePictographic": pict, "graphemeConsonant": consonant, "graphemeLinker": linker}


def scripts():
    pre = P.UnicodeScripts()
    one = lambda s: len(pre.pre_tokenize_str(s)) == 1
    runs = []
    for c in CPS:
        ch = chr(c)
        if one("a" + ch) and one("\u0430" + ch):
            continue  # belongs to any script
        if runs and runs[-1][1] == c - 1 and one(chr(c - 1) + ch):
            runs[-1][1] = c
        else:
            runs.append([c, c])
    reps, out = [], []
    for a, b in runs:
        for i, r in enumerate(reps):
            if one(r + chr(a)):
                break
        else:
            i = len(reps)
            reps.append(chr(a))
        out.append((a, b, i + 1))
    return out


def lower_runs():
    n, pairs = N.Lowercase().normalize_str, []
    for c in CPS:
        o = n(chr(c))
        if o != chr(c) and len(o) == 1:
            pairs.append((c, ord(o) - c))
    runs = []
    for c, d in pairs:
        if runs:
            lo, hi, st, dd = runs[-1]
            if dd == d and (lo == hi and c - hi in (1, 2) or lo != hi and c - hi == st):
                runs[-1] = (lo, c, c - hi, d)
                continue
        runs.append((c, c, 1, d))
    return runs


CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
bert = N.BertNormalizer(clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False)
bert_accents = N.BertNormalizer(clean_text=False, handle_chinese_chars=False, strip_accents=True, lowercase=False)
SETS = [("cat" + g, regex(r"\p{%s}" % g)) for g in CATEGORIES]
SETS += [
    ("regexWord", regex(r"\w")),
    ("crateWord", [c for c, p in pieces(P.Whitespace(), "a", "a") if len(p) == 1 and len(p[0]) == 3]),
    ("whiteSpace", sorted(set(CPS) - set(regex(r"\S")))),
    ("charNumeric", isolated(P.Digits(individual_digits=True))),
    ("bertPunctuation", isolated(P.Punctuation())),
    ("bertDropped", norm_set(bert, lambda f, c: f("a" + c + "a") == "aa")),
    ("bertAccent", norm_set(bert_accents, lambda f, c: f("a" + c) == "a")),
    ("combiningMark", norm_set(N.StripAccents(), lambda f, c: f("a" + c) == "a")),
    ("nonStarter", [c for c in CPS if c == 0x345 or N.NFD().normalize_str("a\u0345" + chr(c)) != "a\u0345" + N.NFD().normalize_str(chr(c))]),
    ("decomposing", norm_set(N.NFKD(), lambda f, c: f(c) != c)),
]
SETS += list(grapheme_sets().items())


def uleb(n):
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


blob = bytearray()
for name, cps in SETS:
    r, end = ranges(cps), 0
    blob += uleb(len(r))
    for a, b in r:
        blob += uleb(a - end) + uleb(b - a)
        end = b + 1
    print(name, len(r), len(blob))
runs, end = lower_runs(), 0
blob += uleb(len(runs))
for lo, hi, st, d in runs:
    blob += uleb(lo - end) + uleb(hi - lo) + uleb(st - 1) + uleb(d << 1 if d >= 0 else -d << 1 | 1)
    end = hi + 1
sc, end = scripts(), 0
blob += uleb(len(sc))
for a, b, s in sc:
    blob += uleb(a - end) + uleb(b - a) + uleb(s)
    end = b + 1
print("lower", len(runs), "scripts", len(sc), len({s for _, _, s in sc}), "bytes", len(blob))
with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "unicode.tab"), "wb") as f:
    f.write(blob)
