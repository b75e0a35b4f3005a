"""Lesson 03, RPC with Thrift, and the comparison: three checks, each over real calls between processes
(the checks themselves are in the package `thriftrpc`).

Facts used, and where they are written:
- exceptions, field numbers, `required`, `oneway`: https://thrift.apache.org/docs/idl
- a definition that changes: Slee, Agarwal and Kwiatkowski, Thrift: Scalable Cross-Language Services Implementation,
  2007, section 5
- an exception that is not declared is an INTERNAL_ERROR, and no result at all a MISSING_RESULT: TApplicationException,
  https://github.com/apache/thrift/blob/master/doc/specs/thrift-rpc.md
- binary, compact, and the length before a frame: the same folder, thrift-binary-protocol.md, thrift-compact-protocol.md
"""

from __future__ import annotations

from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.thriftrpc.calculator import check_calculator
from labsupport.exercises.thriftrpc.evolution import check_evolution
from labsupport.exercises.thriftrpc.serving import check_serving

LESSON = Lesson(
    number="03",
    title="RPC with Thrift, and the comparison",
    notebook="03_thrift",
    minutes=70,
    systems=(),
    exercises=(
        Exercise(
            id="03.1",
            title="calculator service",
            points=3,
            takes=("Calculator",),
            check=check_calculator,
            misconceptions={
                "undeclared_exception": "Only exceptions that the definition declares travel. Any other one reaches "
                "the caller as an INTERNAL_ERROR: it cannot tell a wrong request from a broken server.",
                "integer_division": "The operands are whole numbers, and the result is declared as a double: // throws "
                "away what the caller asked for.",
                "returns_null_for_errors": "A reply has a result or an exception. With None it has neither: the caller "
                "is told that the result is missing, and not why.",
                "returns_a_number_for_errors": "0, -1, infinity and not-a-number are doubles like any other. The "
                "caller goes on calculating with them, and the error shows somewhere else.",
                "unknown_operation_calculated": "An enumeration does not guard anything: any whole number can come "
                "over the wire, from a newer client or a careless one. What is left in the end is not the last case.",
                "returns_the_exception": "An exception that is returned is taken for the result. It is no double, so "
                "the server cannot write its reply and breaks the connection.",
                "exception_without_its_fields": "The fields of an exception are all that crosses the wire; a field "
                "that you do not set arrives as nothing.",
            },
            hints=(
                "Look at what the definition declares after `throws`, and at the cell in which a method raises what "
                "is not declared. What did the client see?",
                "Which values of `operation` can arrive? Which operands make which operation impossible? What is the "
                "type of the result, and does each of your four lines give it?",
                "Two refusals first, then the four operations: raise the declared exception, made from self.api with "
                "both of its fields, when the operation is not one of the four, and when it divides by zero.",
            ),
        ),
        Exercise(
            id="03.2",
            title="evolve a schema",
            points=4,
            takes=("new_version",),
            check=check_evolution,
            misconceptions={
                "reused_field_number": "On the wire a field is its number. Programs of the old version still send the "
                "old field under that number, and the new version reads it as the new one.",
                "changed_type": "A reader skips a field whose type is not the one that it expects, and says nothing: "
                "the value is gone. What gets another type is a new field, with a new number.",
                "new_required_field": "An old client cannot send a field that it has never heard of. Whoever insists "
                "on it refuses all old clients, and can never take the field away again.",
                "renumbering": "The order in which fields stand is for people; the numbers are what programs agreed "
                "on. Programs of the old version go on using the old ones.",
                "removed_without_reserving": "Thrift does not remember what was removed. If the old number stands "
                "nowhere, the next person takes it for a new field, while old programs still use it.",
                "renamed_as_a_new_field": "A name does not go over the wire, so it may change freely. A new number "
                "under which nobody sends, in place of one under which everybody does, is what breaks.",
                "old_field_made_required": "What was not required may be absent: there are old clients that do not "
                "send it, and old data without it. A reader that insists on it now refuses them.",
                "renamed_method": "Fields travel by number, and may be renamed. A method travels by its name: an old "
                "client calls one that is not there any more.",
                "no_default": "A field that did not come is None in Python, unless the definition says what it is "
                "then. Old clients never send it.",
            },
            hints=(
                "Look at the bytes of a struct earlier in this lesson: what of a field is there, and what is not?",
                "For each change ask twice: what does a new server read in what an old client sends, and what does an "
                "old server read in what a new client sends? And who will read your file next year, looking for a "
                "number?",
                "Three fields keep number and type, one of them under its new name. Two new ones take the next "
                "numbers, optional or with a default. The removed field leaves a comment with its number in its place.",
            ),
        ),
        Exercise(
            id="03.3",
            title="choose and serve",
            points=4,
            takes=("serve", "Caller"),
            check=check_serving,
            misconceptions={
                "framed_server_with_buffered_client": "A framed transport puts a length before each message, a "
                "buffered one does not. Nothing on the wire says which is spoken: one end takes the other's first "
                "bytes for something else.",
                "one_protocol_for_all": "Protocol and transport are chosen apart, and both ends must choose the same. "
                "An end that always speaks one protocol fits only by luck.",
                "one_slow_client_blocks": "A server with one thread waits for the next byte of the client that it has "
                "begun with. If that one is slow, or gone, everybody waits.",
                "silent_clients_fill_the_pool": "A pool gives a thread to a connection, not to a call. As many clients "
                "as it has threads, connected and silent, are enough to stop it.",
                "connection_per_call": "Opening a connection costs a round trip before the first byte, and a socket at "
                "both ends after the last. Calls that follow one another go over one connection.",
                "late_reply_taken_for_the_next": "After a timeout the reply is still on its way. The next call on that "
                "connection reads it as its own, because Python's client does not compare the numbers of call and "
                "reply. A connection with a reply outstanding is used up: close it.",
                "calls_again_after_a_timeout": "No reply in time does not say that nothing was done. Whoever repeats a "
                "call may have its effect twice; that is for the one to decide who knows what the method does.",
                "keeps_a_broken_connection": "A connection that the server has ended never works again. Close it and "
                "forget it, and the next call opens another.",
                "waits_for_ever": "A socket waits as long as it takes unless you set its time limit.",
            },
            hints=(
                "Look at the functions of this lesson that start a server and a client: what is chosen where? Then "
                "look at the cell with the late reply.",
                "Which server class gives each connection a thread of its own? When may a connection be used again, "
                "and what do you know about it after a timeout?",
                "Two dictionaries, of protocol and of transport factories, used by both halves. serve makes a threaded "
                "server of the listener and runs it. Caller makes its connection at the first call and keeps it; an "
                "error of the transport closes it and forgets it, and goes on to the caller.",
            ),
        ),
    ),
)
