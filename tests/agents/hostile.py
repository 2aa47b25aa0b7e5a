#!/usr/bin/python3
"""What an owner may put in the place of an agent: says what it likes, as a file in the home tells.

Without that file it is the real one. Started as the real one is: ``… -I -m MODULE DESCRIPTOR``.
"""

import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

HELLO = {"himalia": "0", "protocol": 1}
LOG = "eHh4" * 1_000_000
REASON = {"code": "no", "message": "x" * 1_000_000 + "\0", "next_step": ""}
SEEN = {
    "phase": "ended",
    "progress": {"done": 1, "total": 1, "current": None},
    "started_at": None,
    "ended_at": None,
    "outcome": None,
    "reason": REASON,
}
LIES = {
    "outputs": {
        "items": [{"name": "../../x", "size_bytes": 1, "media_type": "a/b", "role": "file"}]
    },
    "log": {"data": LOG, "offset": 5, "next_offset": 2**50},
    "events": {
        "items": [
            {
                "index": 0,
                "state": "done",
                "at": "2026-01-01T00:00:00Z",
                "seconds": None,
                "name": "n" * 100_000,
            }
        ]
        * 10,
        "position": 200_000,
    },
    "runs": {"items": ["run-00000000000000000000000000"] * 5},
    "attempts": {"items": [0, -1, 10**9]},
    "environments": {"items": [{"name": "n"}]},
    "spec": {"spec": {"timeout_seconds": "soon"}},
    "open_output": {"handle": 1},
    "read_output": {"data": "%%%"},
    "close_output": {},
    "free_bytes": {"count": -1},
}


def main():
    evil = Path(os.environ["HOME"], "evil")
    if not evil.exists():
        os.execv(os.environ["REAL_PYTHON"], [os.environ["REAL_PYTHON"], *sys.argv[1:]])
    Talk(socket.socket(fileno=int(sys.argv[-1])), evil.read_text()).run()


class Talk:
    def __init__(self, channel, how):
        self.channel, self.how = channel, how

    def raw(self, data):
        self.channel.sendall(data)

    def say(self, said):
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.raw(struct.pack(">I", len(data)) + data)

    def hear(self):
        head = self.channel.recv(4, socket.MSG_WAITALL)
        if len(head) < 4:
            sys.exit()
        return json.loads(self.channel.recv(struct.unpack(">I", head)[0], socket.MSG_WAITALL))

    def run(self):
        first = {
            "mute at once": lambda: time.sleep(600),
            "another protocol": lambda: self.say({"himalia": "9", "protocol": 99}),
            "bytes": lambda: self.raw(os.urandom(4096)),
            "huge": lambda: self.raw(b"\xff\xff\xff\xff" + bytes(100)),
            "cut short": lambda: self.raw(b"\0\0\1\0half"),
            "dies at once": lambda: sys.exit("no such thing as \x1b[31ma password: hunter2"),
        }
        first.get(self.how, lambda: self.say(HELLO))()
        asked = self.hear()
        self.say({"id": asked["id"], "ok": {}})
        while True:
            self.answer(self.hear())

    def answer(self, asked):
        number, do = asked["id"], asked["do"]
        if do == "changes":
            if self.how == "restless":
                self.say({"id": number, "ok": {}})
            return
        says = {
            "another's id": {"id": number + 1000, "ok": {}},
            "no id": {"ok": {}},
            "a list": [1, 2],
            "neither": {"id": number},
            "a strange error": {"id": number, "error": {"code": 7}},
            "deep": b'{"id":%d,"ok":' % number + b"[" * 100_000,
            "a long number": b'{"id":%d,"ok":{"count":' % number + b"9" * 4_000_000 + b"}}",
            "no number": b'{"id":%d,"ok":{"count":NaN}}' % number,
            "surrogate": b'{"id":%d,"ok":{"x":"\\ud800"}}' % number,
            "no utf-8": b'{"id":%d,"ok":{"x":"\xff\xfe"}}' % number,
            "more than asked": {"id": number, "ok": {"surprise": 1}},
            "an error": {"id": number, "error": {"code": "nonsense", "message": "boo"}},
            "restless": {"id": number, "ok": {"items": []}},
            "answers and dies": {"id": number, "ok": {}},
            "twice": {"id": number, "ok": {}},
        }
        if self.how in says:
            self.say(says[self.how])
        if self.how == "twice":
            self.say(says[self.how])
        elif self.how in {"dies", "answers and dies"}:
            sys.exit()
        elif self.how == "liar" and do in LIES:
            self.say({"id": number, "ok": LIES[do]})
        elif self.how == "liar" and do == "observe":
            items = [{**SEEN, **item} for item in asked["with"]["items"]]
            other = {**SEEN, "run_id": "run-00000000000000000000000000", "attempt": 1}
            self.say({"id": number, "ok": {"items": [*items, other, other]}})
        # Any other way: never a word again.


main()
