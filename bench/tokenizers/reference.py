"""The reference of tokenizers/compare: Hugging Face's tokenizers, asked over pipes.

    pip install tokenizers

Answers each line of JSON on standard input with one line, as the Go workers do (compare/library.go):

    {"load": "tokenizer.json"}  ->  {"version": "0.23.3", "seconds": 0.41}
    {"text": "..."}             ->  {"ids": [101, 7, 102], "seconds": 0.00002}

Special tokens are added, truncation and padding are off, and the call is the library's fastest: one thread, no offsets.
"""
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
import tokenizers  # noqa: E402  (reads the environment)


def load(path):
    t = tokenizers.Tokenizer.from_file(path)
    t.no_truncation()
    t.no_padding()
    return t


def main():
    tokenizer = None
    for line in sys.stdin.buffer:
        q = json.loads(line)
        answer = {}
        start = time.perf_counter()
        try:
            if "load" in q:
                tokenizer = load(q["load"])
                answer["version"] = tokenizers.__version__
            else:
                answer["ids"] = tokenizer.encode_batch_fast([q["text"]])[0].ids
        except BaseException as e:  # the library's panics are no Exception
            answer["error"] = f"{type(e).__name__}: {e}"
        answer["seconds"] = time.perf_counter() - start
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


main()
