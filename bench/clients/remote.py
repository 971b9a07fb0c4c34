"""Reads a stream of events as the Python client of the server before this one did: python remote.py http://127.0.0.1:8888 REQUEST_ID < BODY

It takes the lines that begin with "data:" and the JSON behind it. "complete" is the result, "error", "cancelled" and
"timeout" are none, whatever else comes is logged. It prints {"result": ..., "logged": [...], "end": ...}.
"""
import http.client
import json
import sys
import urllib.parse

base, request = sys.argv[1:]
connection = http.client.HTTPConnection(urllib.parse.urlsplit(base).netloc, timeout=300)
connection.request("POST", "/api/generate", sys.stdin.read(), {"Content-Type": "application/json", "X-Request-Id": request})
response = connection.getresponse()
said = {"result": None, "logged": [], "end": response.status}
if response.status == 200:
    for line in response:
        line = line.decode().strip()
        if not line.startswith("data:"):
            assert line == "", line
            continue
        event = json.loads(line[len("data:"):])
        if event["status"] == "complete":
            said["result"] = event
        elif event["status"] not in ("error", "cancelled", "timeout"):
            said["logged"].append(event)
            continue
        said["end"] = event["status"]
        break
print(json.dumps(said))
