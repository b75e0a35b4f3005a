"""Thrift with and without its compiler: the same classes, the same bytes, and each understands the other."""

from __future__ import annotations

import itertools
import logging

import pytest

from labsupport import environment
from labsupport.environment import programs
from labsupport.errors import LearnerError, SetupError
from labsupport.services import thrift

SHOP = """
namespace py store.api
enum Size { SMALL = 1, LARGE = 2 }
struct URL { 1: string text }
const i32 LIMIT = 7
typedef i64 Cents
struct Item {
    1: required string sku, 2: i32 qty = 1, 3: optional list<string> tags, 4: map<string, Cents> prices,
    5: Size size, 6: binary raw, 7: double weight, 8: set<i16> codes, 9: bool fresh, 10: optional Item inner,
    12: list<list<Item>> pairs, 13: URL page
}
const Item FIRST = {"sku": "first"}
exception SoldOut { 1: string sku, 2: i32 left }
service Base { void ping() }
service Shop extends Base {
    Item get(1: string sku) throws (1: SoldOut gone),
    i32 add(1: i32 a, 2: i32 b),
    oneway void note(1: string text)
}
"""
WAYS = [True, False]  # with the compiler, without
PAIRS = list(itertools.product(WAYS, WAYS))


@pytest.fixture(scope="module")
def definition(tmp_path_factory):
    environment.add("thrift")
    path = tmp_path_factory.mktemp("idl") / "shop.thrift"
    path.write_text(SHOP)
    return path


@pytest.fixture(scope="module")
def shops(definition):
    assert thrift.compiler(), "the tests need the compiler"
    return {way: thrift.load(definition, compiled=way) for way in WAYS}


def protocols():
    from thrift.protocol import TBinaryProtocol, TCompactProtocol, TJSONProtocol

    return {
        "binary": TBinaryProtocol.TBinaryProtocolFactory(),
        "fast binary": TBinaryProtocol.TBinaryProtocolAcceleratedFactory(),
        "compact": TCompactProtocol.TCompactProtocolFactory(),
        "fast compact": TCompactProtocol.TCompactProtocolAcceleratedFactory(),
        "JSON": TJSONProtocol.TJSONProtocolFactory(),
    }


PROTOCOLS = ["binary", "fast binary", "compact", "fast compact", "JSON"]


def item(shop):
    return shop.Item(
        sku="book",
        qty=300,
        tags=["a", "ü"],
        prices={"EUR": 2**40},
        size=shop.Size.LARGE,
        raw=b"\xff\0",
        weight=1.5,
        codes={1, -2},
        fresh=True,
        inner=shop.Item("inner"),
        pairs=[[shop.Item("left"), shop.Item("right")], []],
    )


class Handler:
    def __init__(self, shop):
        self.shop, self.notes, self.pings = shop, [], 0

    def ping(self):
        self.pings += 1

    def get(self, sku):
        if sku == "bug":
            raise RuntimeError("a bug")
        if sku == "gone":
            raise self.shop.SoldOut(sku="gone", left=0)
        return None if sku == "nothing" else self.shop.Item(sku=sku)

    def add(self, a, b):
        return a + b

    def note(self, text):
        self.notes.append(text)


@pytest.fixture
def connected(shops):
    """Makes a client of one way that is connected to a server of the other, without a network."""
    from thrift.transport import TTransport

    class Wire(TTransport.TTransportBase, TTransport.CReadableTransport):
        def __init__(self, processor, factory):
            self.processor, self.factory, self.sent = processor, factory, TTransport.TMemoryBuffer()
            self.answer = TTransport.TMemoryBuffer(b"")

        def write(self, data):
            self.sent.write(data)

        def flush(self):
            question, answer = TTransport.TMemoryBuffer(self.sent.getvalue()), TTransport.TMemoryBuffer()
            self.sent = TTransport.TMemoryBuffer()
            self.processor.process(self.factory.getProtocol(question), self.factory.getProtocol(answer))
            self.answer = TTransport.TMemoryBuffer(answer.getvalue())

        def read(self, size):
            return self.answer.read(size)

        @property
        def cstringio_buf(self):
            return self.answer.cstringio_buf

        def cstringio_refill(self, partial, size):
            return self.answer.cstringio_refill(partial, size)

    def connect(client, server, protocol="binary"):
        factory, handler = protocols()[protocol], Handler(shops[server])
        wire = Wire(shops[server].Shop.Processor(handler), factory)
        return shops[client].Shop.Client(factory.getProtocol(wire)), handler

    return connect


def test_both_ways_give_the_same_names(shops):
    with_compiler, without = ({name for name in dir(shops[way]) if not name.startswith("__")} for way in WAYS)
    assert with_compiler == without == {
        *("Base", "FIRST", "Item", "LIMIT", "Shop", "Size", "SoldOut", "URL", "generated")
    }  # fmt: skip
    assert shops[True].LIMIT == shops[False].LIMIT == 7 and shops[False].FIRST.sku == "first"
    assert (shops[True].generated / "Shop.py").is_file() and shops[False].generated is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_ways_write_the_same_bytes_and_read_each_other(shops, protocol):
    from thrift.transport import TTransport

    factory, written = protocols()[protocol], {}
    for way in WAYS:
        buffer = TTransport.TMemoryBuffer()
        item(shops[way]).write(factory.getProtocol(buffer))
        written[way] = buffer.getvalue()
    assert written[True] == written[False]
    for way in WAYS:
        back = shops[way].Item()
        back.read(factory.getProtocol(TTransport.TMemoryBuffer(written[not way])))
        assert back == item(shops[way]) and back.inner.qty == 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(("client", "server"), PAIRS)
def test_a_call_of_each_kind_is_answered(shops, connected, client, server, protocol):
    from thrift.Thrift import TApplicationException

    logging.getLogger().disabled = True  # a handler's bug is logged with a traceback
    try:
        shop, handler = connected(client, server, protocol)
        assert shop.get("book").sku == "book" and shop.add(2, b=3) == 5
        assert shop.ping() is None and handler.pings == 1
        assert shop.note("once") is None and handler.notes == ["once"]
        with pytest.raises(shops[client].SoldOut) as gone:
            shop.get("gone")
        assert (gone.value.sku, gone.value.left) == ("gone", 0)
        for sku, number in (("bug", TApplicationException.INTERNAL_ERROR), ("nothing", 5)):
            with pytest.raises(TApplicationException) as caught:
                shop.get(sku)
            assert caught.value.type == number, "an undeclared error, or no result"
    finally:
        logging.getLogger().disabled = False


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_an_old_and_a_new_version_live_side_by_side(tmp_path, old, new):
    from thrift.Thrift import TApplicationException
    from thrift.transport import TTransport

    path, factory = tmp_path / "v.thrift", protocols()["binary"]
    versions = []
    for way, text in ((old, "1: i32 a"), (new, "1: i32 a, 2: string b = 'unsaid', 3: required i32 c")):
        path.write_text(
            f"struct Thing {{ {text} }} service S {{ i32 old(), {'i32 added()' if len(text) > 9 else ''} }}"
        )
        versions.append(thrift.load(path, compiled=way))
    first, second = versions

    def carry(thing, kind):
        buffer = TTransport.TMemoryBuffer()
        thing.write(factory.getProtocol(buffer))
        kind.read(factory.getProtocol(TTransport.TMemoryBuffer(buffer.getvalue())))
        return kind

    assert carry(second.Thing(a=1, b="new", c=2), first.Thing()).a == 1, "an unknown field is skipped"
    read = carry(first.Thing(a=1), second.Thing())
    assert (read.a, read.b) == (1, "unsaid")
    with pytest.raises(Exception, match="Required field c is unset"):
        read.validate()
    answer = TTransport.TMemoryBuffer()
    question = TTransport.TMemoryBuffer()
    sent = factory.getProtocol(question)
    sent.writeMessageBegin("added", 1, 0)
    first.Thing(a=1).write(sent)
    sent.writeMessageEnd()
    read_back = factory.getProtocol(TTransport.TMemoryBuffer(question.getvalue()))
    first.S.Processor(object()).process(read_back, factory.getProtocol(answer))
    reply = factory.getProtocol(TTransport.TMemoryBuffer(answer.getvalue()))
    assert reply.readMessageBegin()[1] == 3
    error = TApplicationException()
    error.read(reply)
    assert error.type == TApplicationException.UNKNOWN_METHOD


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_definition_is_refused_with_its_line(tmp_path, way):
    path = tmp_path / "bad.thrift"
    path.write_text("struct X {\n  1: i32 a,\n  2 i32\n}\n")
    with pytest.raises(LearnerError, match=r"bad\.thrift is no Thrift definition") as caught:
        thrift.load(path, compiled=way)
    assert "3" in caught.value.cause and str(tmp_path) not in str(caught.value)
    with pytest.raises(LearnerError, match=r"no file nowhere\.thrift"):
        thrift.load(tmp_path / "nowhere.thrift", compiled=way)


def test_without_the_compiler_it_goes_on_without_and_says_how_to_get_it(definition, monkeypatch):
    monkeypatch.setattr(programs.Program, "find", lambda self: None)
    assert thrift.load(definition).generated is None
    with pytest.raises(SetupError, match="compiler is not on this machine") as caught:
        thrift.load(definition, compiled=True)
    assert "thrift" in caught.value.do
