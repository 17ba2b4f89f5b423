"""A store that makes its objects up: as many keys as wanted, and content that is nowhere kept.

Started as a process of its own (`python3 synthetic.py KEYS SIZE`), it prints its port. Buckets are
told by their names: `keys` and `same` list KEYS objects of SIZE bytes in byte order, `mixed` the
same in no order, as SeaweedFS says it does; every other one is empty and forgets what is written to
it, except below `.vidimus/`.
"""

import bisect
import http.server
import math
import re
import socketserver
import sys
import threading
import urllib.parse

PER_DIRECTORY = 1000
MOST_KEYS = 1000
TAG = '"0123456789abcdef0123456789abcdef"'
DATE = "2020-01-01T00:00:00.000Z"
HTTP_DATE = "Wed, 01 Jan 2020 00:00:00 GMT"
ZEROS = bytes(1 << 20)
# Coprime to the number of keys after `Store` made it so: steps by it reach every key once.
STRIDE = 2654435761


def name(index):
    return f"d{index // PER_DIRECTORY:05}/k{index % PER_DIRECTORY:07}"


class Store:
    def __init__(self, keys, size):
        self.keys, self.size = keys, size
        self.stride = STRIDE
        while keys and math.gcd(self.stride, keys) != 1:
            self.stride += 1
        self.kept, self.lock, self.uploads = {}, threading.Lock(), 0

    def page(self, bucket, query):
        """The body of one page."""
        prefix, token = query.get("prefix", ""), query.get("continuation-token")
        limit = min(int(query.get("max-keys", MOST_KEYS)), MOST_KEYS)
        folded = "delimiter" in query
        if bucket not in ("keys", "same", "mixed") or prefix.startswith("."):
            return self.answer([], None)
        indices = range(self.keys)
        first = bisect.bisect_left(indices, prefix, key=name)
        end = bisect.bisect_left(indices, prefix + "\U0010ffff", key=name)
        if token is not None:
            first = int(token)
        elif "start-after" in query:
            first = max(first, bisect.bisect_right(indices, query["start-after"], key=name))
        if not folded:
            last = min(first + limit, end)
            shown = range(first, last)
            if bucket == "mixed":
                shown = ((index * self.stride) % self.keys for index in shown)
            parts = [self.contents(index) for index in shown]
            return self.answer(parts, last if last < end else None)
        parts = []
        while first < end and len(parts) < limit:
            key = name(first)
            cut = key.find("/", len(prefix))
            if cut < 0:
                parts.append(self.contents(first))
                first += 1
            else:
                parts.append(f"<CommonPrefixes><Prefix>{key[:cut + 1]}</Prefix></CommonPrefixes>")
                first = bisect.bisect_left(indices, key[:cut] + "0", lo=first, key=name)
        return self.answer(parts, first if first < end else None)

    def contents(self, index):
        return (f"<Contents><Key>{name(index)}</Key><LastModified>{DATE}</LastModified>"
                f"<ETag>{TAG}</ETag><Size>{self.size}</Size>"
                "<StorageClass>STANDARD</StorageClass></Contents>")

    @staticmethod
    def answer(parts, following):
        more = following is not None
        token = f"<NextContinuationToken>{following}</NextContinuationToken>" if more else ""
        return ('<?xml version="1.0" encoding="UTF-8"?><ListBucketResult>'
                f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>{token}"
                f"{''.join(parts)}<EncodingType>url</EncodingType></ListBucketResult>").encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *_):
        pass

    def version_string(self):
        return "SeaweedFS" if self.path.startswith("/mixed") else "synthetic"

    def parts(self):
        path, _, query = self.path.partition("?")
        bucket, _, key = path.lstrip("/").partition("/")
        query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        return bucket, urllib.parse.unquote(key), query

    def reply(self, status, body=b"", headers=()):
        self.send_response(status)
        for header, value in headers:
            self.send_header(header, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self, keep):
        left, kept = int(self.headers.get("Content-Length", 0)), []
        while left:
            piece = self.rfile.read1(min(left, 1 << 20))
            if not piece:
                raise ConnectionError("the body ends early")
            left -= len(piece)
            if keep:
                kept.append(piece)
        return b"".join(kept)

    def do_GET(self):
        bucket, key, query = self.parts()
        store = self.server.store
        if not key:
            return self.reply(200, store.page(bucket, query), [("Content-Type", "application/xml")])
        kept = store.kept.get((bucket, key))
        if kept is not None:
            return self.reply(200, kept, [("ETag", TAG), ("Last-Modified", HTTP_DATE)])
        if key.startswith(".") or bucket not in ("keys", "same", "mixed"):
            return self.reply(404, b"<Error><Code>NoSuchKey</Code></Error>")
        return self.content()

    do_HEAD = do_GET

    def content(self):
        size = self.server.store.size
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        first, last = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("ETag", TAG)
        self.send_header("Last-Modified", HTTP_DATE)
        left = last + 1 - first
        self.send_header("Content-Length", str(left))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.flush()
        while left:
            piece = min(left, len(ZEROS))
            self.connection.sendall(memoryview(ZEROS)[:piece])
            left -= piece

    def do_PUT(self):
        bucket, key, _ = self.parts()
        store, keep = self.server.store, key.startswith(".vidimus")
        content = self.body(keep)
        if keep:
            with store.lock:
                if self.headers.get("If-None-Match") and (bucket, key) in store.kept:
                    return self.reply(412, b"<Error><Code>PreconditionFailed</Code></Error>")
                store.kept[bucket, key] = content
        return self.reply(200, b"", [("ETag", TAG)])

    def do_POST(self):
        _, _, query = self.parts()
        self.body(False)
        store = self.server.store
        if "uploads" in query:
            with store.lock:
                store.uploads += 1
                number = store.uploads
            return self.reply(200, ("<InitiateMultipartUploadResult>"
                                    f"<UploadId>{number}</UploadId>"
                                    "</InitiateMultipartUploadResult>").encode())
        if "uploadId" in query:
            return self.reply(200, ("<CompleteMultipartUploadResult>"
                                    f"<ETag>{TAG}</ETag>"
                                    "</CompleteMultipartUploadResult>").encode())
        return self.reply(200, b"<DeleteResult></DeleteResult>")

    def do_DELETE(self):
        bucket, key, _ = self.parts()
        self.server.store.kept.pop((bucket, key), None)
        self.reply(204)


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main():
    server = Server(("127.0.0.1", 0), Handler)
    server.store = Store(int(sys.argv[1]), int(sys.argv[2]))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
