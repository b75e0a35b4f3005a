"""A Maelstrom node of fifteen lines; what it does besides is told by its arguments."""

import json
import sys

manner = sys.argv[1] if len(sys.argv) > 1 else ""
name = None


def say(dest, body, **more):
    print(json.dumps({"src": name, "dest": dest, "body": body, **more}), flush=True)


if manner == "talks early":
    say("n1", {"type": "tick"})
if manner == "dies early":
    print("I have no licence", file=sys.stderr)
    sys.exit(3)
for line in sys.stdin:
    received = json.loads(line)
    source, body = received["src"], received["body"]
    kind, number = body["type"], body.get("msg_id")
    if kind == "init" and manner == "asks first":
        name, names, starter = body["node_id"], body["node_ids"], source
        say("lin-kv", {"type": "write", "key": name, "value": 1, "msg_id": 7})
    elif kind == "write_ok":
        say(starter, {"type": "init_ok", "in_reply_to": 1})
    elif kind == "init" and manner != "deaf":
        name, names = body["node_id"], body["node_ids"]
        say(source, {"type": "init_ok", "in_reply_to": number})
        say("n1", {"type": "tick", "in_reply_to": None})
        if manner == "stray":
            print("Hello, I am a node!", flush=True)
            print('{"src": "n1", "dest": "n2"', flush=True)
            print('{"src": "n1", "dest": "n2", "body": 7}', flush=True)
            sys.stdout.buffer.write(b"[1, 2]\n\n\xff\n")
            sys.stdout.flush()
    elif kind == "echo" and manner == "proxy" and name != names[-1]:
        say(names[-1], body, src=source, id=7)  # under the client's name, as Maelstrom's own Raft does
    elif kind == "echo" and manner == "nameless":
        say(source, {"type": "echo_ok", "echo": body["echo"], "in_reply_to": number}, src=None)
    elif kind == "echo" and manner == "lost":
        say("nobody", {"type": "tick"})
        say(source, {"type": "echo_ok", "echo": body["echo"], "in_reply_to": number})
    elif kind == "echo" and manner == "dies":
        print(f"cannot echo {body['echo']}", file=sys.stderr)
        sys.exit(1)
    elif kind == "echo" and manner == "twice":
        for _ in range(2):
            say(source, {"type": "echo_ok", "echo": body["echo"], "in_reply_to": number})
        say(source, {"type": "tick", "in_reply_to": [1]})
    elif kind == "echo":
        say(source, {"type": "echo_ok", "echo": body["echo"], "in_reply_to": number})
