"""Check of 03.2: a new version of a definition, as old and new clients and servers meet in all four pairings."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from labsupport.exercises.answer import Answer, Child
from labsupport.exercises.checking import Run
from labsupport.exercises.thriftrpc.calls import PATIENCE_S, client_of, definition, host

OLD = {"item": 1, "quantity": 2, "coupon": 3, "customer": 4}
KEPT = {"item": 1, "pieces": 2, "customer": 4}  # the fields of the new version that the old one has, and their numbers
KINDS = {"item": "text", "pieces": "i32", "customer": "i32", "note": "text", "customer_name": "text"}
TTYPES = {2: "bool", 3: "byte", 4: "double", 6: "i16", 8: "i32", 10: "i64", 11: "text", 12: "struct", 15: "list"}


def loaded(given: Any) -> Any:
    """In the child: the learner's definition, in Python."""
    from labsupport.services.thrift import load

    path = pathlib.Path("orders_2.thrift")  # a child works in a directory of its own
    path.write_text(given.new_version())
    return load(path, compiled=False)


def fields_of(api: Any) -> dict[str, list[Any]]:
    """The fields of an Order: name -> number and type."""
    return {spec[2]: [spec[0], TTYPES.get(spec[1], str(spec[1]))] for spec in api.Order.thrift_spec if spec}


def serve_new(given: Any, tell: Any) -> None:
    """In the child: a server of the new version; it tells what it reads, and sends the order back."""
    api = loaded(given)
    tell("fields", fields=fields_of(api))

    class Orders:
        def place(self, order: Any) -> Any:
            tell("read", order={name: _plain(getattr(order, name)) for name in fields_of(api)})
            try:
                order.validate()  # servers in Java and C++ do that as they read; Python leaves it to the program
            except Exception as error:
                tell("refused", why=str(getattr(error, "message", error)))
                raise
            tell("accepted")
            return order

    host(tell, api.Orders.Processor(Orders()))


def call_new(given: Any, tell: Any, port: int, order: dict[str, Any]) -> None:
    """In the child: a client of the new version places an order, and tells what came back."""
    api = loaded(given)
    with client_of(api.Orders, port) as client:
        back = client.place(api.Order(**{name: value for name, value in order.items() if name in fields_of(api)}))
    tell("back", order={name: _plain(getattr(back, name)) for name in fields_of(api)})


def _plain(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None))) else repr(value)


def serve_old(given: Any, tell: Any) -> None:
    """In a child: a server of the old version."""
    api = definition("orders")

    class Orders:
        def place(self, order: Any) -> Any:
            tell("read", order={name: _plain(getattr(order, name)) for name in OLD})
            return order

    host(tell, api.Orders.Processor(Orders()))


def check_evolution(answer: Answer, run: Run) -> str:
    """The four pairings, then a colleague who adds a field after the learner."""
    definition("orders")  # before any child: a library that cannot be brought is not the answer's fault
    with answer.start(serve_new) as server:
        fields = server.expect("fields", what="your definition to be read")["fields"]
        port = server.expect("ready", what="a server of your definition")["port"]
        case = EvolutionCase(run, fields)
        case.has_its_fields()
        case.old_client_old_server(answer)
        case.old_client_new_server(server, port)
        case.old_client_leaves_something_out(server, port)
        case.new_client(answer, server, port)
    case.numbers()
    with answer.start(tell_definition) as child:
        case.a_colleague_adds_a_field(child.expect("definition")["text"])
    return "old and new client and server in all four pairings; a field that somebody adds after you"


def tell_definition(given: Any, tell: Any) -> None:
    """In the child: the text itself."""
    tell("definition", text=str(given.new_version()))


class EvolutionCase:
    """The experiments of 03.2; `fields` is the learner's Order, name -> number and type."""

    def __init__(self, run: Run, fields: dict[str, list[Any]]) -> None:
        self.run, self.fields = run, fields
        self.history: list[str] = []
        draw = run.random.randrange
        self.old = {
            "item": f"item-{draw(1000)}",
            "quantity": draw(2, 99),
            "coupon": f"coupon-{draw(1000)}",
            "customer": draw(1000, 9999),
        }
        self.new = {
            "item": f"item-{draw(1000)}",
            "pieces": draw(2, 99),
            "customer": draw(1000, 9999),
            "note": f"note-{draw(1000)}",
            "customer_name": f"name-{draw(1000)}",
        }

    def reject(self, slug: str, said: str, expected: object, got: object) -> None:
        self.run.reject(slug, said, expected=expected, got=got, evidence=self.history[-8:])

    def has_its_fields(self) -> None:
        self.history.append(f"your Order: {_numbered(self.fields)}")
        missing = [name for name in KINDS if name not in self.fields]
        if missing == ["customer_name"] and self.fields["customer"][1] == "text":
            missing = []  # its numbers will tell
        if missing == ["customer"] and self.fields["customer_name"][0] == KEPT["customer"]:
            said = "customer, which was a number, has become a text, under the same number"
            self.reject("changed_type", said, "4: i32 customer, and a new field", _numbered(self.fields))
        if missing:
            self.reject("", f"your Order has no field {', '.join(missing)}", ", ".join(KINDS), ", ".join(self.fields))
        if "coupon" in self.fields or "quantity" in self.fields:
            self.reject("", "an old field is still there under its old name", ", ".join(KINDS), ", ".join(self.fields))

    # ---- the pairings

    def old_client_old_server(self, answer: Answer) -> None:
        with answer.start(serve_old) as server:
            port = server.expect("ready", what="an old server")["port"]
            self._place_old(port, self.old)
            self.history.append(f"old client -> old server: {_shown(server.expect('read')['order'])}")

    def old_client_new_server(self, server: Child, port: int) -> None:
        read, refused = self._read_by_new(server, port, self.old)
        if refused:
            said = "an old client, which knows nothing of your new field, is refused"
            self.reject("new_required_field", said, "its order is taken", refused)
        self.coupon_is_nobodys(read)
        for name, old in (("item", "item"), ("pieces", "quantity"), ("customer", "customer")):
            if read.get(name) != self.old[old]:
                self.lost(name, f"old client's {old}", self.old[old], read.get(name))
        if read["note"] != "":
            self.reject("no_default", "an old client sends no note, and your server reads none", "''", read["note"])

    def old_client_leaves_something_out(self, server: Child, port: int) -> None:
        """No field of the old version is required, so old clients exist that do not send it."""
        _, refused = self._read_by_new(server, port, {"coupon": self.old["coupon"]})
        if refused:
            said = "an old client whose order lacks what version 1 did not require is refused"
            self.reject("old_field_made_required", said, "its order is taken", refused)

    def new_client(self, answer: Answer, new_server: Child, new_port: int) -> None:
        """Against an old server, then against a new one."""
        with answer.start(serve_old) as old_server:
            port = old_server.expect("ready", what="an old server")["port"]
            with answer.start(call_new, port=port, order=self.new) as client:
                self.history.append(f"new client sends {_shown(self.new)}")
                read = old_server.expect("read", PATIENCE_S, "an old server to read your client's order")["order"]
                self.history.append(f"old server reads {_shown(read)}")
                for name, old in (("item", "item"), ("pieces", "quantity"), ("customer", "customer")):
                    if read[old] != self.new[name]:
                        self.lost(name, f"old server's {old}", self.new[name], read[old])
                if read["coupon"] is not None:
                    said = "an old server takes one of your new fields for a coupon"
                    self.reject("reused_field_number", said, "no coupon", read["coupon"])
                client.expect("back", PATIENCE_S, "your client to get its order back")
        with answer.start(call_new, port=new_port, order=self.new) as client:
            back = client.expect("back", PATIENCE_S, "your client to get its order back from a new server")["order"]
            self.history.append(f"new client <- new server: {_shown(back)}")
        if back != self.new:
            self.reject("", "a new client and a new server lose something", self.new, back)

    def _read_by_new(self, server: Child, port: int, order: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """What the learner's server reads in an old client's order, and why it refuses it, if it does."""
        self.history.append(f"old client sends {_shown(order)}")
        self._place_old(port, order)
        read = server.expect("read", PATIENCE_S, "your server to read an old client's order")["order"]
        self.history.append(f"new server reads {_shown(read)}")
        refused = next(server.events()).get("why", "")
        if refused:
            self.history.append(f"new server refuses: {refused}")
        return read, refused

    def _place_old(self, port: int, order: dict[str, Any]) -> None:
        from thrift.Thrift import TApplicationException
        from thrift.transport.TTransport import TTransportException

        api = definition("orders")
        with client_of(api.Orders, port) as client:
            try:
                client.place(api.Order(**order))
            except (TApplicationException, TTransportException) as error:
                self.history.append(f"old client <- {type(error).__name__}: {error}")
                if error.type == TApplicationException.UNKNOWN_METHOD and isinstance(error, TApplicationException):
                    self.reject("renamed_method", "an old client calls place, which nobody answers", "a reply", error)

    # ---- what went wrong

    def coupon_is_nobodys(self, read: dict[str, Any]) -> None:
        for name, value in read.items():
            if value == self.old["coupon"] and name not in KEPT:
                said = f"an old client sent a coupon, and your server reads it as {name}"
                self.reject("reused_field_number", said, "nobody reads it", value)

    def lost(self, name: str, whose: str, sent: Any, got: Any) -> None:
        """One of the kept fields did not arrive: its number, or the type at its number, has changed."""
        number, kind = self.fields[name]
        said = f"the {whose} and your {name} are not the same any more"
        if number == KEPT[name] and kind != KINDS[name]:
            self.reject("changed_type", f"{said}: number {number} was {KINDS[name]}, and is {kind}", sent, got)
        if number not in OLD.values() and KEPT[name] not in [other for other, _ in self.fields.values()]:
            said += f": it is a new field, number {number}, and number {KEPT[name]} is read by nobody"
            self.reject("renamed_as_a_new_field", said, sent, got)
        self.reject("renumbering", f"{said}: it was number {KEPT[name]}, and is number {number}", sent, got)

    def numbers(self) -> None:
        """Differences that no value showed, such as a number whose type hides the reuse."""
        for name, (number, kind) in self.fields.items():
            if number == OLD["coupon"]:
                self.reject("reused_field_number", f"{name} has the coupon's number", "a number of its own", number)
            if name in KEPT and kind != KINDS[name]:
                self.reject("changed_type", f"{name} has another type", KINDS[name], kind)

    def a_colleague_adds_a_field(self, text: str) -> None:
        """Somebody who reads the definition takes the first number that no field has and no comment names."""
        comments = re.findall(r"//[^\n]*|#[^\n]*|/\*.*?\*/", text, re.S)
        named = {int(number) for number in re.findall(r"\b\d+\b", " ".join(comments))}
        used = {number for number, _ in self.fields.values()}
        free = next(number for number in range(1, 1000) if number not in named | used)
        self.history.append(f"a colleague adds a field with the first number that is neither used nor named: {free}")
        if free == OLD["coupon"]:
            self.history.append(f"old client's coupon, {self.old['coupon']!r}, is read as the colleague's field")
            said = "the number of the removed coupon looks free, and the next field gets it"
            self.reject("removed_without_reserving", said, "number 3 is named, in a comment", "number 3 is free")


def _shown(order: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in order.items())


def _numbered(fields: dict[str, list[Any]]) -> str:
    return ", ".join(f"{number}: {kind} {name}" for name, (number, kind) in fields.items())
