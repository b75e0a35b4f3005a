"""Lesson 02, RPC with gRPC: four checks, each over real calls between this process and the learner's
(the checks themselves are in the package `rpc`).

Facts used, and where they are written:
- status codes and who produces which: https://grpc.io/docs/guides/status-codes/ (an exception in a method is UNKNOWN)
- deadlines, and that DEADLINE_EXCEEDED does not mean "did not happen": https://grpc.io/docs/guides/deadlines/
- UNAVAILABLE may be retried if the call is idempotent: https://grpc.github.io/grpc/core/md_doc_statuscodes.html
- request numbers of one client, and one remembered reply for each: Lee et al., Implementing Linearizability at Large
  Scale and Low Latency (RIFL), SOSP 2015, section 3
- full jitter: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
"""

from __future__ import annotations

from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.rpc.bank import check_exactly_once
from labsupport.exercises.rpc.greeter import check_greeter
from labsupport.exercises.rpc.guard import check_guard
from labsupport.exercises.rpc.idl import idl
from labsupport.exercises.rpc.shop import check_deadline_budget

LESSON = Lesson(
    number="02",
    title="RPC with gRPC",
    notebook="02_grpc",
    minutes=75,
    systems=(),
    modules=lambda: [idl().directory],
    exercises=(
        Exercise(
            id="02.1",
            title="Greeter",
            points=4,
            takes=("Greeter",),
            check=check_greeter,
            misconceptions={
                "empty_name_answered_ok": "A field that nobody sets arrives as its zero value, here an empty string: "
                "protobuf refuses nothing. What a request must have is for your method to check, and the answer to a "
                "request that makes no sense is a status, not a greeting.",
                "bare_exception": "An exception that leaves a method reaches the caller as UNKNOWN: the caller cannot "
                "tell a wrong request from a broken server, so it cannot know whether to mend, retry or give up.",
                "bidi_reads_everything_first": "A bidirectional call is a conversation: the other side may wait for "
                "your reply before it says more. A method that waits for the end of the requests first, and a client "
                "that waits for a reply first, wait for each other for ever.",
                "ignores_cancellation": "Cancelling a call tells the server that nobody waits any more; it does not "
                "stop a method that is running. Python lets the method run on, at your cost, unless it looks.",
                "replies_collected_first": "A stream of replies is for sending each one when it is there. Collecting "
                "them first makes the caller wait for the slowest, and the server hold them all.",
                "state_shared_between_calls": "There is one servicer object for all calls, and calls run side by side "
                "in threads. What belongs to one call must live in that call's method, not on self.",
                "catches_its_own_abort": "context.abort() ends a method by raising an exception. A broad except around "
                "it catches that one, too, and gives the call another code: let it catch what you expect, a KeyError.",
                "goes_on_after_the_error": "context.set_code() only notes the code; the method goes on, and its caller "
                "gets replies to a request that made no sense. Return after it, or use abort, which raises.",
                "one_code_for_every_error": "A status code tells the caller what to do next. INVALID_ARGUMENT says "
                "that the request can never work; NOT_FOUND says that it was well made, and the thing is not there.",
            },
            hints=(
                "Look at the four methods of Numbers in this lesson: what each takes, what each gives back, and where "
                "`yield` stands. Then look at the cell with the exception in a method: which status did its caller "
                "get?",
                "For one request the same things must happen in all four kinds: check the name, then for each language "
                "see whether the caller is still there, look it up, and make the line. Could one helper of yours do "
                "that, and the four methods differ only in how they hand its lines on?",
                "One generator method that takes a request and the context: it aborts at an empty name; in a loop over "
                "the languages it returns when the context is no longer active, aborts when the look-up fails, and "
                "yields a line. Two methods join its lines into one reply, one yields a reply for each line, and one "
                "yields a reply for each request as the loop over the requests meets it.",
            ),
        ),
        Exercise(
            id="02.2",
            title="interceptor",
            points=4,
            takes=("Guard",),
            check=check_guard,
            misconceptions={
                "only_unary_covered": "A handler for a stream has its function under another name (unary_stream, "
                "stream_unary, stream_stream). An interceptor that only looks at unary_unary leaves three kinds of "
                "call unguarded, or breaks them.",
                "metrics_skip_failed_calls": "context.abort() works by raising an exception, and a refusal never gets "
                "to the method: what stands after the method's call is then not reached. The calls that fail are those "
                "that one wants to see in the metrics.",
                "secret_in_log_line": "A log is read by many people and kept for long. Metadata holds the caller's "
                "secret, so a line that shows the metadata, or what was compared, gives the secret away.",
                "raises_instead_of_aborting": "An exception in an interceptor is an accident on the server: the caller "
                "gets UNKNOWN. Only a status that you set yourself, with abort, tells the caller to show who it is.",
                "refused_as_missing": "Giving back no handler tells grpc that the method does not exist: the caller "
                "gets UNIMPLEMENTED and looks for a wrong version, not for a missing token.",
                "permission_denied_for_strangers": "PERMISSION_DENIED says: I know who you are, and you may not. "
                "UNAUTHENTICATED says: I do not know who you are. A caller asks for new credentials only at the "
                "second.",
                "any_token_will_do": "Being there is not being right: compare the whole value, to its end.",
                "secret_in_the_refusal": "The text of a status is sent to the caller, who may be anybody. A text that "
                "says which token was expected opens the door.",
                "stream_counted_when_it_starts": "The method of a stream gives back an iterator at once, before any of "
                "its work is done. How the call ends is known when the iterator does.",
                "stream_collected_first": "A list of all replies, made in order to know how the stream ends, holds the "
                "first one back until the last one is there, and a conversation never gets so far. Hand each one on.",
                "crash_counted_as_ok": "When a method is left by an exception of its own, context.code() is still "
                "None, as after a success. grpc sends UNKNOWN only later: your interceptor has to see the exception "
                "itself.",
                "state_shared_between_calls": "There is one interceptor for all calls, and the next call may come "
                "before this one ends. What belongs to one call must live in a local name, not on self.",
                "unknown_method_crashes": "For a method that the server does not have, the continuation gives None "
                "instead of a handler, and a scanner on the network calls such methods all day.",
            },
            hints=(
                "Print the handler that `continuation` gives for each of the four kinds: which of its fields are set? "
                "Print the context's code after a success, after an abort and after an exception.",
                "What runs when the method of a stream is called, and what runs only when its replies are taken? Where "
                "must code stand that has to run after the last reply, even if the method aborts or raises?",
                "Two inner functions, one for a single reply and one that is a generator for many. Both do the same "
                "around the method: refuse if the token is wrong, else call it, and in a `finally` find the status "
                "(OK, what abort set, or UNKNOWN after another exception) and record and log it. The right one of "
                "grpc's four functions makes a handler of it, with the old handler's serializers.",
            ),
        ),
        Exercise(
            id="02.3",
            title="exactly-once effect",
            points=5,
            takes=("Bank", "Teller"),
            check=check_exactly_once,
            misconceptions={
                "new_request_id_per_retry": "The number is how the bank knows that two requests are one deposit. A new "
                "number for each attempt makes a new deposit of each attempt.",
                "timeout_taken_as_did_not_happen": "No reply in time says nothing about the effect: the request may "
                "have been lost, or the reply, or the work goes on. The outcome is unknown until somebody who "
                "remembers is asked again, with the same number.",
                "dedupe_by_payload": "Somebody may well deposit the same amount twice. Only the one who sends knows "
                "whether a request is a copy or a new one, and says so with the number.",
                "remembers_the_id_but_not_the_reply": "The copy comes because the first reply was lost: the client "
                "still needs it. What it must get is that reply, not an empty one, an error, or the balance of today.",
                "table_grows_without_bound": "A table of all requests ever made ends as an outage. A client that "
                "numbers its requests and sends one at a time will never ask again for an older reply than its last.",
                "runs_every_copy": "A client that got no reply sends its request again. Without a memory of what has "
                "been done, the server does it again.",
                "forgets_who_asked": "Each client counts for itself: number 1 of one till is not number 1 of another.",
                "late_duplicate_runs_again": "The network may hold a copy back and deliver it after later requests. A "
                "number below the client's last is never new work.",
                "forgets_too_early": "How long a reply must be kept is not a matter of how many others came since: the "
                "client may still be trying. Its own next number is what shows that it has the reply.",
                "two_copies_at_once": "Looking into the table and writing into it are two steps, and gRPC runs every "
                "call in a thread of its own: a second copy can look before the first has written.",
                "gap_taken_for_a_mistake": "A client that gave a deposit up goes on with the next number, and the bank "
                "may never see the one between. What makes a request new is a number above the client's last.",
                "gives_up_at_once": "A lost reply is the ordinary case for which the bank remembers. With the same "
                "number, another attempt is safe.",
                "retries_a_refusal": "INVALID_ARGUMENT is a definite answer: the same request will be refused every "
                "time. Retry what may work later, which is what UNAVAILABLE and DEADLINE_EXCEEDED leave open.",
                "waits_for_ever": "Python's gRPC sets no deadline unless you do: a server that is frozen then freezes "
                "its clients.",
                "one_number_for_all_deposits": "A number names one deposit. With the same number, the bank takes the "
                "next deposit for a copy of the last and does nothing.",
            },
            hints=(
                "Look at the cell where the reply is lost: which fields of the two requests are equal, and which field "
                "is there to tell a copy from a new deposit? For the client, look at the table of outcomes: which "
                "status codes leave it open whether the deposit was made?",
                "For each client, what is the least that the bank must remember to recognise a copy and to answer it? "
                "What can happen between looking that up and writing it down? And on the other side: which line of the "
                "loop may make a new number, and what do you know after the last attempt?",
                "Bank: refuse an amount that is not positive; then, under one lock, compare the number with this "
                "client's last: equal gives the remembered reply, lower is refused, higher is carried out and "
                "remembered in place of the old one. Teller: count up once for each deposit, build one request, and "
                "send that same request up to the given number of attempts with the given timeout; a reply is done, a "
                "definite refusal is refused, and when the attempts are used up the outcome is unknown.",
            ),
        ),
        Exercise(
            id="02.4",
            title="deadline budget",
            points=5,
            takes=("Shop",),
            check=check_deadline_budget,
            misconceptions={
                "no_deadline": "gRPC sets no deadline by itself, and a deadline does not pass from one call to the "
                "next in Python unless you pass it. One frozen server at the end of the chain then holds everybody "
                "before it.",
                "fresh_full_deadline_per_hop": "The customer has one amount of time for everything. What the first "
                "call used up is gone: the second must get what is left now, or it works for somebody who has gone.",
                "immediate_retries": "A server that is down is not helped by being asked again at once, and when all "
                "its clients do so, it cannot come up again.",
                "retries_a_non_idempotent_call": "UNAVAILABLE may come after the effect: the connection broke, the "
                "server did not. Repeating a call that is not idempotent repeats the effect.",
                "retries_after_the_budget_is_spent": "When the customer's time is over, nobody waits for the answer. "
                "Every further attempt loads a system in trouble, for nothing.",
                "no_jitter": "Clients that failed together and wait the same time come back together, and fail "
                "together again. A random wait spreads them.",
                "constant_backoff": "If the trouble lasts, the load must go down: each further wait is drawn from a "
                "range twice as long.",
                "retries_every_error": "NOT_FOUND is an answer, and it will be the same next time. Only UNAVAILABLE "
                "says that another attempt may help.",
                "downstream_error_becomes_unknown": "An RpcError of your own call that leaves your method is an "
                "exception like any other: your caller gets UNKNOWN, and no longer learns what was wrong.",
                "as_patient_as_its_customer": "Some customers set a deadline of an hour. A server that waits as long "
                "for each of them is full of waiting calls in a minute: it needs a limit of its own.",
                "last_call_unguarded": "Every call can fail, also the last one, which is made once: its RpcError must "
                "become a status, too, or your customer gets UNKNOWN.",
                "gives_up_at_once": "UNAVAILABLE is mostly over in a moment, and asking for a price twice does no "
                "harm.",
            },
            hints=(
                "Look at the cell that prints how much time a call has left, with a deadline and without one. A "
                "deadline is a point in time, a timeout a length: which of the two can be handed on?",
                "Which of the two calls to the depot may be repeated, and after which status? Before each wait and "
                "each attempt, what do you compare with what? What does your customer see if a call to the depot "
                "raises?",
                "At the start of Buy, turn the remaining time (at most ten seconds) into a point on the monotonic "
                "clock. Each call's timeout is that point minus now. Around Price a loop: at UNAVAILABLE draw a wait, "
                "random up to a bound that doubles each time; if it would end after the point, or the code is another "
                "one, let the error go; else sleep. Take is called once. Around both, an RpcError ends Buy with the "
                "same code by abort.",
            ),
        ),
    ),
)
