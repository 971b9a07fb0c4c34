"""Makes cases.json.gz and families.json.gz: what transformers' chat templates give.

Run with transformers (5.23) and jinja2 (3.1.6) installed. The environment is transformers' own, so its answers are the
specification. A case whose rendering raises has no text: the interpreter must refuse it too.
"""

import copy
import datetime
import gzip
import json
import pathlib

import transformers.utils.chat_template_utils as reference

from cases import CASES, VARIABLES
from families import CONVERSATIONS, SPECIAL, TEMPLATES

HERE = pathlib.Path(__file__).parent


class Clock(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2025, 3, 7, 9, 5, 3, 7000)


reference.datetime = Clock


def render(source, variables):
    try:
        return reference._compile_jinja_template(source).render(**copy.deepcopy(variables))
    except Exception:
        return None


def apply(source, conversation):
    """What PreTrainedTokenizerBase.apply_chat_template does around the template."""
    c = dict(conversation)
    messages = [{k: v for k, v in m.items() if v is not None} for m in c.pop("messages")]
    if not messages:
        return None
    kwargs = c.pop("kwargs", {})
    try:
        return reference.render_jinja_template([messages], chat_template=source, **c, **{**SPECIAL, **kwargs})[0][0]
    except Exception:
        return None


def write(name, value):
    data = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    (HERE / name).write_bytes(gzip.compress(data, 9, mtime=0))


def main():
    cases = [[source, render(source, VARIABLES)] for source in CASES]
    assert not any(" at 0x" in (text or "") for _, text in cases), "an address is no answer"
    write("cases.json.gz", {"variables": json.dumps(VARIABLES), "cases": cases})
    families = []
    for name, source in TEMPLATES.items():
        texts = [apply(source, c) for c in CONVERSATIONS.values()]
        families.append({"name": name, "source": source, "texts": texts})
    conversations = [{"name": n, "body": json.dumps(c, ensure_ascii=False)} for n, c in CONVERSATIONS.items()]
    write("families.json.gz", {"special": SPECIAL, "conversations": conversations, "families": families})
    print(len(cases), "cases,", sum(w is None for _, w in cases), "refused;",
          sum(len(f["texts"]) for f in families), "family renderings,",
          sum(t is None for f in families for t in f["texts"]), "refused")


if __name__ == "__main__":
    main()
