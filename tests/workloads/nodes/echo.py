"""echo; flaws: changes, extra (a field too many), refuses (one in four), strays, dies, mute."""

import os
import sys

from wire import FLAW, Wire

count = 0


def echo(body, sender):
    global count
    count += 1
    if FLAW == "changes" and count % 5 == 0:
        return {"type": "echo_ok", "echo": body["echo"].upper()}
    if FLAW == "extra":
        return {"type": "echo_ok", "echo": body["echo"], "node": node.me}
    if FLAW == "refuses" and count % 4 == 0:
        return {"type": "error", "code": 11, "text": "too busy"}
    if FLAW == "strays":
        os.write(1, b"about to answer\n")
    if FLAW == "dies" and count == 10:
        print("these are my last words", file=sys.stderr, flush=True)
        os._exit(3)
    if FLAW == "mute":
        return None
    return {"type": "echo_ok", "echo": body["echo"]}


node = Wire(echo=echo)
node.run()
