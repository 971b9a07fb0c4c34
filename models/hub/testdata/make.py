"""Writes python.tar.gz: what huggingface_hub itself leaves on disk.

A small Hub on localhost (tree, revision, resolve with a redirect to /blob for LFS files) serves one embedding
repository with sentence-transformers' layout. huggingface_hub downloads it into a local_dir and into a cache, and both
are packed with their links and times. Run with huggingface_hub 2.4.0: python make.py
"""

import hashlib
import io
import json
import os
import tarfile
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPO = "acme/tiny-embed"


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [64], "data_offsets": [0, 256]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(range(256))


FILES = {
    "config.json": b'{"model_type": "bert"}',
    "modules.json": json.dumps([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    ]).encode(),
    "1_Pooling/config.json": b'{"word_embedding_dimension": 8}',
    "tokenizer.json": b'{"version": "1.0"}',
    "README.md": b"# tiny\n",
    "model.safetensors": safetensors(),
}
LFS = {"model.safetensors"}


def sha256(b: bytes) -> str:
    return hashlib.sha256(b).hexdigest()


def blob(b: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(b) + b).hexdigest()


class Hub(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes = b"", **headers: str):
        self.send_response(status)
        headers.setdefault("Content-Length", str(len(body)))
        for k, v in headers.items():
            self.send_header(k.replace("_", "-"), v)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path = self.path.split("?")[0]
        if path.startswith(f"/api/models/{REPO}/tree/"):
            tree = []
            for name, b in FILES.items():
                e = {"type": "file", "oid": blob(b), "size": len(b), "path": name}
                if name in LFS:
                    e["lfs"] = {"oid": sha256(b), "size": len(b), "pointerSize": 130}
                tree.append(e)
            return self.answer(200, json.dumps(tree).encode(), Content_Type="application/json")
        if path.startswith(f"/api/models/{REPO}"):
            info = {"id": REPO, "sha": COMMIT, "siblings": [{"rfilename": n} for n in FILES], "tags": []}
            return self.answer(200, json.dumps(info).encode(), Content_Type="application/json")
        if path.startswith("/blob/"):
            return self.answer(200, FILES[path[len("/blob/"):]])
        name = path.removeprefix(f"/{REPO}/resolve/{COMMIT}/")
        if name not in FILES:
            return self.answer(404, X_Error_Code="EntryNotFound")
        b = FILES[name]
        if name in LFS:
            return self.answer(
                302, Location=f"http://127.0.0.1:{STORAGE.server_port}/blob/{name}", X_Repo_Commit=COMMIT,
                X_Linked_Etag=f'"{sha256(b)}"', X_Linked_Size=str(len(b)))
        self.answer(200, b, ETag=f'"{blob(b)}"', X_Repo_Commit=COMMIT)

    do_HEAD = do_GET


STORAGE = ThreadingHTTPServer(("127.0.0.1", 0), Hub)  # another port is another host


def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    for s in (server, STORAGE):
        threading.Thread(target=s.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as tmp:
        os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"
        os.environ["HF_HOME"] = tmp
        os.environ["HF_HUB_DISABLE_XET"] = "1"
        from huggingface_hub import snapshot_download

        top = Path(tmp, "out")
        snapshot_download(REPO, local_dir=top / "local")
        snapshot_download(REPO, cache_dir=top / "cache")
        raw = io.BytesIO()
        with tarfile.open(fileobj=raw, mode="w:gz") as tar:
            for p in sorted(top.rglob("*")):
                if p.is_symlink() or p.is_file():
                    info = tar.gettarinfo(p, str(p.relative_to(top)))
                    info.uid = info.gid = 0
                    info.uname = info.gname = ""
                    if p.is_symlink():
                        tar.addfile(info)
                    else:
                        tar.addfile(info, p.open("rb"))
        Path(__file__).with_name("python.tar.gz").write_bytes(raw.getvalue())


main()
