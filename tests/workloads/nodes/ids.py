"""unique-ids; flaw: counter (every node counts on its own)."""

import itertools

from wire import FLAW, Wire

numbers = itertools.count()


def generate(body, sender):
    number = next(numbers)
    return {"type": "generate_ok", "id": number if FLAW == "counter" else [node.me, number]}


node = Wire(generate=generate)
node.run()
