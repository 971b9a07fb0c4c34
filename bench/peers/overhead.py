"""What the server adds to the model's own time: one client, one text, turn by turn with the model alone.

    make build && (cd bench && go build -o /tmp/embedworker ./cmd/embedworker)
    python bench/peers/overhead.py --server bin/remote-client-server --worker /tmp/embedworker --dir REPOSITORY
"""
import argparse
import json
import os
import socket
import statistics
import subprocess
import time


def request(sock, body):
    sock.sendall(b"POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    data = b""
    while b"\r\n\r\n" not in data:
        data += sock.recv(65536)
    head, rest = data.split(b"\r\n\r\n", 1)
    assert head.startswith(b"HTTP/1.1 200"), head
    length = int(next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")).split(b":")[1])
    while len(rest) < length:
        rest += sock.recv(65536)
    return rest


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--server", required=True)
    p.add_argument("--worker", required=True)
    p.add_argument("--dir", required=True)
    p.add_argument("--threads", default="2")
    p.add_argument("--requests", type=int, default=300)
    p.add_argument("--port", type=int, default=8899)
    a = p.parse_args()
    server = subprocess.Popen([a.server, "--host", "127.0.0.1", "--port", str(a.port), "--model", "m", "--model_type", "embed", "--model_files", a.dir,
                               "--threads", a.threads, "--no_redis"], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    start = time.perf_counter()
    while True:
        try:
            sock = socket.create_connection(("127.0.0.1", a.port))
            sock.sendall(b"GET /api/health HTTP/1.1\r\nHost: x\r\n\r\n")
            if sock.recv(65536).startswith(b"HTTP/1.1 200"):
                break
            sock.close()
        except OSError:
            pass
        time.sleep(0.005)
    print(f"ready {time.perf_counter() - start:.3f} s after the start of the process")
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    worker = subprocess.Popen([a.worker, "-dir", a.dir, "-threads", a.threads], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    text = "the quick brown fox jumps over the lazy dog and runs away from the hungry bear"
    body = json.dumps({"input": text, "encoding_format": "base64"}).encode()
    alone, served = [], []
    for _ in range(a.requests):
        time.sleep(0.003)  # the threads of the other process spin for a moment after their turn
        worker.stdin.write(json.dumps({"texts": [text]}).encode() + b"\n")
        worker.stdin.flush()
        alone.append(json.loads(worker.stdout.readline())["ms"])
        time.sleep(0.003)
        t = time.perf_counter()
        request(sock, body)
        served.append((time.perf_counter() - t) * 1e3)
    for name, v in (("model alone", alone), ("over HTTP", served)):
        v.sort()
        print(f"{name}: p50 {statistics.median(v):.3f} ms, p99 {v[int(len(v) * 0.99)]:.3f} ms")
    print(f"the server's share, difference of p50: {statistics.median(served) - statistics.median(alone):.3f} ms")
    with open(f"/proc/{server.pid}/status") as f:
        print([line.split(":")[0] + line.split(":")[1].rstrip() for line in f if line.startswith(("VmHWM", "VmRSS"))],
              f"weights {sum(os.path.getsize(os.path.join(a.dir, n)) for n in os.listdir(a.dir) if n.endswith(('.safetensors', '.bin'))) / 1024:.0f} kB")
    server.terminate()
    server.wait()


if __name__ == "__main__":
    main()
