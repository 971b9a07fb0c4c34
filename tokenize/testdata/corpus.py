"""The texts that the fixtures are about: small cases of every kind that tokenizers disagree on. Deterministic."""


class Random:
    """A linear congruential generator, so that no version of Python changes the texts."""

    def __init__(self, seed):
        self.s = seed

    def n(self, n):
        self.s = (self.s * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.s >> 33) % n

    def pick(self, a):
        return a[self.n(len(a))]


W = """the of and to in is you that it he was for on are as with his they at be this have from or one had by word but not what all were we when your can said there use an each which she do how their if will up other about out many then them these so some her would make like him into time has look two more write go see number no way could people my than first water been call who oil its now find long down day did get come made may part over new sound take only little work know place year live me back give most very after thing our just name good sentence man think say great where help through much before line right too mean old any same tell boy follow came want show also around form three small set put end does another well large must big even such because turn here why ask went men read need land different home us move try kind hand picture again change off play spell air away animal house point page letter mother answer found study still learn should America world internationalisation tokenizer transformer embeddings antidisestablishmentarianism don't I'm we'll they've it's he'd you're CAN'T I'LL state-of-the-art e-mail co-operate naïve café résumé Zürich façade jalapeño""".split()
CJK = "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生自会那后能对着事其里所去行过家十用发天如然作方成者多日都三小军二无同么经法当起与好看学进种将还分此心前面又定见只主没公从日本語の形態素解析は難しいですカタカナひらがな한국어형태소분석테스트입니다"
RTL = ["שלום", "עולם", "مرحبا", "بالعالم", "العَرَبِيَّة", "ﷺ", "فارسی", "می‌خواهم", "ירושלים", "בְּרֵאשִׁית", "١٢٣٤", "۱۲۳"]
OTHER = ["Привет", "мир", "Здравствуйте", "Ёжик", "Γειά", "σου", "ΚΌΣΜΕ", "ὀδυσσεύς", "नमस्ते", "दुनिया", "क्षत्रिय", "বাংলা", "ไทย", "สวัสดีครับ", "ภาษาไทย", "မြန်မာ", "ქართული", "Հայերեն", "ትግርኛ", "ខ្មែរ", "İstanbul", "ISPARTA", "ıI", "ẞß", "ŒŀĲ", "Việt", "Nguyễn", "đường", "ñandú", "Ǆǅǆ"]
EMOJI = ["😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "🇯🇵🇺🇸", "❤️", "☺", "☺️", "👩🏿‍🚀", "🧑‍🤝‍🧑", "1️⃣", "#️⃣", "🫠", "🤷🏻‍♂️", "©️", "™", "🀄", "🏴󠁧󠁢󠁥󠁮󠁧󠁿"]
COMB = ["e\u0301", "a\u0308\u0323", "Z\u0351\u036b\u0343", "o\u0302\u0300", "n\u0303", "\u0301", "\u0300\u0301", "ᄀ\u1161\u11a8", "か\u3099", "q\u0307\u0323", "A\u030a", "\u212b", "\u0344", "\u1e9b\u0323", "\u0958", "\u2126", "\u1f71", "\u24bd\u0308", "\u00bd\u0301", "ﬁ\u0301", "\u0915\u094d\u0958\u0301", "\u1100\u1161\u0301", "\u2122\u200d\u2122\u0301", "\u00a9\u200d\u00ae", "\u0600a", "\U0001d165\U0001d16e", "\u0cc6\u0cc2\u0cd5"]
CTRL = ["\0", "\1", "\7", "\b", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1b[31m", "\x7f", "\x85", "\xa0", "\xad", "\u1680", "\u180e", "\u2000", "\u2003", "\u2009", "\u200b", "\u200c", "\u200d", "\u200e", "\u2028", "\u2029", "\u202e", "\u202f", "\u205f", "\u2060", "\u3000", "\ufeff", "\ufffd", "\ufffe", "\uffff", "\U0010ffff", "\ue000", "\U000f0000", "\u0600", "\u061c", "\U000e0001", "\u0890"]
COMPAT = ["ﬁ", "ﬀ", "①", "㈱", "½", "²", "㎏", "ｆｕｌｌ", "Ｗｉｄｔｈ", "ｶﾀｶﾅ", "ｶﾞ", "…", "℡", "ª", "Ⅷ", "𝓗𝓮𝓵𝓵𝓸", "𝟘𝟙", "ǰ", "㍿", "﹏", "\u2025", "\u2011", "\uff5e", "\u301c", "\u2018x\u2019", "\u201cq\u201d", "\u2014", "\xb4", "\xa8", "\u037e", "\u1fef", "ſ", "'ſ", "K", "ϓ", "𐐀𐐨", "𒀀", "𠀀", "\U0002f800", "﨏"]
CODE = ['func main() {\n\tfmt.Println("hi, 世界")\n}\n', "for (let i=0;i<10;++i){ x[i] += y*2; }", 'def f(x: int) -> str:\n    """doc"""\n    return f"{x!r:>10}"\n', "#include <stdio.h>\nint main(void)\n{\n        return 0;\n}\n", "<div class=\"a b\" id='c'>&nbsp;&lt;</div>", "SELECT * FROM t WHERE a>=1 AND b<>'x' -- c", '{"a":[1,2.5e-10,null,true],"b":{"c":"\\u00e9"}}', "\\begin{equation} \\frac{a}{b} \\end{equation}", "x^2 + y_1 = z~~q @user #tag `code` **b** __i__", "a::b->c.d?.e!==f<<=1>>>2|&^%", "/* c */ // d\n\n\n\n\t\t\tif (a) {}"]
URL = ["https://example.com/a/b?c=d&e=%20f#g", "foo.bar+baz@mail.example.co.uk", "C:\\Users\\me\\file.txt", "/usr/local/bin/foo-1.2.3.tar.gz", "192.168.0.1:65535", "2001:db8::1"]
NUM = ["0", "7", "42", "123", "1234", "12345", "1234567890", "3.14159", "-1", "+49 (0)30 123456", "1,234,567.89", "1e100", "2024-01-31T23:59:59Z", "99%", "$12.50", "€1.000,00", "1st 2nd", "١٢٣", "१२३", "１２３", "½¾", "10²", "Ⅳ"]
SPEC = ["<s>", "</s>", "<unk>", "<pad>", "<mask>", "[CLS]", "[SEP]", "[MASK]", "[PAD]", "[UNK]", "[unk]", "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|begin_of_text|>", "<|eot_id|>", "<|end|>", "<bos>", "<eos>", "<start_of_turn>", "<extra_id_0>", "<extra_id_99>", "<<ENT>>", "<<SEP>>", "<0x0A>", "<0xE4>", "<think>", "</think>", "<｜User｜>", "<|", "|>", "<s", "s>", "[MASK", "▁", "▁▁", "Ġ", "Ċ", "##ing", "</w>", "<image>", "[INST]", "Yesterday"]
WS = [" ", "  ", "   ", "    ", "        ", "\t", "\t\t", "\n", "\n\n", "\r\n", " \n", "\n ", " \n ", "\n\n\n", " \t ", "                    ", "\xa0", "\u3000", ""]
PUN = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + ["...", "--", "!!", "「", "」", "、", "。", "，", "！", "？", "؟", "،", "¿", "¡", "«", "»", "·", "§", "–", "„", "\u061d", "\u2e52"]


def sentence(r, n):
    out = []
    for i in range(n):
        w = r.pick(W)
        if r.n(10) == 0:
            w = w[0].upper() + w[1:]
        if r.n(50) == 0:
            w = w.upper()
        out.append(w + (r.pick([",", ".", ";", ":", "?", "!"]) if r.n(12) == 0 else ""))
    return " ".join(out)


def texts():
    r, out = Random(20240607), []
    cjk = lambda n: "".join(r.pick(CJK) for _ in range(n))
    rep = lambda n, f: "".join(f() for _ in range(n))
    out += ["", " ", "  ", "   ", "\n", "\n\n", "\t", "\r\n", " \n ", "a", " a", "a ", " a ", "  a  ", "a  b", "a   b", "a\nb", "a\n\nb", "a \n b", "'", "''", "``", "``quoted''", "I'm", "i'M", "I'LL", "it's's", "'s", " 's", "don\u2019t", "Hello world", "Hello, y'all! How are you 😁 ?", "HELLO", "héllo", "HÉLLO ÀÇ", "İ", "ß", "\ufeffBOM", "你好", "你 好", "안녕", "a你b", "...", ". . .", "-", "_", "00", "0000", "123456789", "1 2 3", "X yesterday,Yesterday"]
    for group in (SPEC, EMOJI, COMB, CTRL, COMPAT, CODE, URL, NUM, RTL, OTHER, PUN):
        for x in group:
            out.append(r.pick(W) + x + r.pick(W) if r.n(2) else x)
            if group is SPEC or r.n(5) < 2:
                out.append(" " + x + "  " + x + " " + r.pick(W))
    out += [sentence(r, 1 + r.n(24)) for _ in range(50)]
    out += [rep(1 + r.n(40), lambda: chr(32 + r.n(95))) for _ in range(30)]
    for group in (CTRL, EMOJI, COMB, COMPAT, OTHER, RTL):
        out += [rep(2 + r.n(7), lambda: r.pick([r.pick(group), r.pick(group), r.pick(W), " ", "e", "你"])) for _ in range(18)]
    out += [cjk(1 + r.n(40)) for _ in range(15)]
    out += [rep(1 + r.n(8), lambda: r.pick([cjk(3), r.pick(W), " ", "。", "，", "123", "カタカナ"])) for _ in range(15)]
    out += [rep(2 + r.n(8), lambda: r.pick([r.pick(WS), r.pick(WS), r.pick(W), r.pick(PUN), r.pick(NUM)])) for _ in range(40)]
    out += [rep(1 + r.n(3), lambda: r.pick(CODE) + r.pick(WS)) for _ in range(12)]
    out += [rep(1 + r.n(6), lambda: r.pick([r.pick(SPEC), r.pick(SPEC), r.pick(W), " ", r.pick(WS), r.pick(PUN)])) for _ in range(50)]
    out += [rep(2 + r.n(10), lambda: r.pick([r.pick(W), " ", r.pick(WS), r.pick(PUN), r.pick(NUM), r.pick(EMOJI), r.pick(COMB), r.pick(COMPAT), r.pick(RTL), r.pick(OTHER), cjk(2)])) for _ in range(80)]

    def any_char():
        k = r.n(20)
        c = r.n(0x250) if k < 8 else r.n(0x3100) if k < 16 else r.n(0xFFFF) if k < 19 else r.n(0x10FFFF)
        return chr(0x20 if 0xD800 <= c < 0xE000 else c)

    out += [rep(1 + r.n(20), any_char) for _ in range(80)]
    for n in (25, 99, 100, 101, 400):
        out += [x * n for x in ("a", " ", "你", "\n", "!", "ab", "\u0301")]
    out.append(sentence(r, 250))
    return out


def training():
    """Text to train small tokenizers on: a little of everything, mostly words."""
    r = Random(7)
    lines = [sentence(r, 12) for _ in range(1500)]
    lines += ["".join(r.pick(CJK) for _ in range(8)) for _ in range(200)]
    for group in (RTL, OTHER, EMOJI, CODE, URL, NUM, COMPAT):
        lines += [" ".join(r.pick(group) for _ in range(3)) for _ in range(60)]
    return lines


def boundaries(cp):
    """The text in which one code point is tried: between letters, doubled, and before a combining mark."""
    c = chr(cp)
    return "a%sb %s%s %s\u0301 " % (c, c, c, c)


def valid(cp):
    return not 0xD800 <= cp < 0xE000


