"""The reference of the templates test: Jinja in the environment of transformers, asked over pipes.

    python reference.py FOLDER-WITH-WHEELS

Answers each line of JSON on standard input with one line. The wheels are read in place; MarkupSafe, which Jinja imports,
is compiled and so stands for itself here: without autoescape none of it matters.

    {"source": "{{ bos_token }}...", "special": {...}, "messages": [...], "tools": null, ...}  ->  {"text": "<s>..."}
                                                                                   or  {"refused": "TemplateError"}

With "call_content" in the question, messages of tool calls alone get that content.
"""
import datetime
import glob
import json
import string
import sys
import types

sys.path[:0] = glob.glob(sys.argv[1] + "/jinja2-*.whl")

try:
    import markupsafe  # noqa: F401
except ImportError:
    plain = types.ModuleType("markupsafe")

    class Markup(str):
        def __html__(self):
            return self

    plain.Markup, plain.escape, plain.soft_str = Markup, lambda s: Markup(s), lambda s: s if isinstance(s, str) else str(s)
    plain.EscapeFormatter, plain.__version__ = string.Formatter, "0"
    sys.modules["markupsafe"] = plain

import jinja2  # noqa: E402
import jinja2.ext  # noqa: E402
import jinja2.sandbox  # noqa: E402


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("render_body"), [], [], body).set_lineno(line)

    def render_body(self, caller):
        return caller()


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def environment():
    e = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, jinja2.ext.loopcontrols])
    e.filters["tojson"] = tojson
    e.globals["raise_exception"] = raise_exception
    e.globals["strftime_now"] = datetime.datetime(2025, 3, 7, 9, 5, 3, 7000).strftime
    return e


def aliased(message):
    """A message as transformers hands it to a template: no nulls, the reasoning under all its names."""
    message = {k: v for k, v in message.items() if v is not None}
    thoughts = [message[k] for k in ("reasoning_content", "thinking", "reasoning") if k in message]
    return {"thinking": thoughts[0], **message, "reasoning_content": thoughts[0]} if thoughts else message


def main():
    env, compiled = environment(), {}
    for line in sys.stdin:
        q = json.loads(line)
        source = q.pop("source")
        q["messages"] = [aliased(m) for m in q["messages"]]
        if "call_content" in q:
            content = q.pop("call_content")
            for m in q["messages"]:
                if m.get("tool_calls"):
                    m.setdefault("content", content)
        variables = {"tools": None, "documents": None, "add_generation_prompt": False, **q.pop("special"), **q.pop("kwargs", {}), **q}
        try:
            if source not in compiled:
                compiled[source] = env.from_string(source)
            answer = {"text": compiled[source].render(**variables)}
        except Exception as e:
            answer = {"refused": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), flush=True)


main()
