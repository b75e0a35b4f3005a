"""Lesson 04, Publish–subscribe with NATS: a subscriber, request/reply workers and a durable consumer."""

from __future__ import annotations

from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.pubsub.billing import check_billing
from labsupport.exercises.pubsub.subscriber import check_subscriber
from labsupport.exercises.pubsub.workers import check_workers

LESSON = Lesson(
    number="04",
    title="Publish–subscribe with NATS",
    notebook="04_nats",
    minutes=70,
    systems=("nats",),
    exercises=(
        Exercise(
            id="04.1",
            title="subscribe",
            points=3,
            takes=("subscriber",),
            check=check_subscriber,
            misconceptions={
                "no_wildcard": "A subject without a wildcard matches itself and nothing else. A subject is a name, "
                "not a folder: what lies below it is other subjects.",
                "star_instead_of_greater": "* stands for exactly one token between two dots. What lies deeper needs "
                ">, which stands for one or more tokens and comes last.",
                "subscribes_to_everything": "The server filters so that you need not: who subscribes to more than he "
                "wants is sent all of it over the network, and throwing it away afterwards costs as much as reading "
                "it.",
                "ready_before_flush": "subscribe() returns when the client has noted the subscription, not when the "
                "server has. Until its line has reached the server, core NATS drops whatever is published, and tells "
                "nobody.",
                "returns_before_stop": "A subscription lives as long as its connection. When the function returns, "
                "the process ends, and messages that are published later reach nobody.",
                "silence_ends_it": "next_msg() waits for one second unless told otherwise, then raises. No message in "
                "a second says nothing about the next one: a quiet publisher is not a dead one.",
                "handles_in_background": "A task for each message is started and forgotten: messages overtake each "
                "other, nothing limits their number, and whoever stops does not know which of them are done.",
                "drops_backlog_on_exit": "unsubscribe() and close() throw away what the client has received and you "
                "have not handled. Core NATS keeps no copy, so those messages are gone.",
                "empties_only_its_own_queue": "An empty queue in your client does not mean that nothing is under way. "
                "Only after the server has said that it sends no more is the last message known to be the last.",
                "blocks_the_event_loop": "One event loop runs your code, the client and its network connection. While "
                "your code holds it, no message is read and no ping is answered.",
            },
            hints=(
                "Look at the table of wildcards, at the three hundred tries with and without a round trip, and at the "
                "two ways of leaving.",
                "After which line do you know, and not only hope, that the server has your subscription? And after "
                "which line that no further message is coming?",
                "Subscribe with > below the prefix and let the client call handle; make one round trip; say that you "
                "are ready; wait for the event; drain the subscription.",
            ),
        ),
        Exercise(
            id="04.2",
            title="request/reply workers",
            points=4,
            takes=("serve", "ask"),
            check=check_workers,
            misconceptions={
                "plain_subscription": "Every plain subscription gets its own copy of a message, so every worker does "
                "every job. Workers that name the same queue group share: each message goes to one of them.",
                "reply_to_wrong_subject": "Each request brings its own reply subject, an inbox that only its sender "
                "listens on. An answer on a fixed subject reaches nobody, or everybody.",
                "error_swallowed": "A job that fails is an answer too. Without one the client learns of it by its "
                "timeout, and cannot tell a bad request from a dead worker.",
                "error_kills_the_worker": "One bad request ended the loop that reads requests. The process looks "
                "alive, its subscription is still there, and each job that it is given is lost.",
                "no_timeout": "Silence has no end of its own. The worker may be dead, slow or cut off, and only the "
                "one who waits can decide when to stop waiting.",
                "ignores_the_timeout": "How long an answer may take is the caller's to say. request() waits for half "
                "a second unless told otherwise, and a job that takes longer looks lost.",
                "timeout_means_failed": "A timeout says that no answer came, and nothing about the job. The worker "
                "had received it and may still do it; whoever takes it for undone does it twice.",
                "nobody_taken_for_unknown": "When nobody has subscribed, the server says so at once. That is a "
                "definite answer, the job was not done, and it may be sent again without fear.",
                "error_taken_for_result": "The reply arrived, but it says that the job failed. What came back has to "
                "be read before it is believed.",
            },
            hints=(
                "Look at the cell that shared twelve tasks among three members, and at the two requests that got no "
                "answer: they ended differently.",
                "For each way a request can end, what do you know about the job: surely done, surely not done, or "
                "neither? And what does a worker send when the job raises?",
                "serve: subscribe with a queue group; in the callback decode and compute inside a try, build a "
                "dictionary with sum or error, respond. ask: request with the given timeout, one except for each of "
                "the two errors, then look which of the two keys the reply has.",
            ),
        ),
        Exercise(
            id="04.3",
            title="durable consumer",
            points=5,
            takes=("billing",),
            check=check_billing,
            misconceptions={
                "ack_before_work": "An ack tells the server to forget the message. If the process dies between the "
                "ack and the work, nobody does the work and nobody knows: that is at most once.",
                "no_ack": "Without an ack the server must believe that the message was lost, and delivers it again "
                "after each ack wait, for ever.",
                "work_longer_than_ack_wait": "The server cannot tell slow work from a dead worker: when the ack wait "
                "is over, it gives the message out again. Who needs longer says so with in_progress() meanwhile.",
                "fresh_durable_name": "The server remembers under the durable's name what was acknowledged. A new "
                "name, or none, is a new consumer that starts at the beginning.",
                "only_new_orders": "A consumer that asks for new messages only never sees those that came before it "
                "was created: what a stream keeps is lost on it, as in core NATS.",
                "not_idempotent": "At least once means sometimes twice: whoever dies after the work and before the "
                "ack is given the message again. Work that adds up must notice that it has been done.",
                "remembers_in_memory": "What has been done is remembered in the process, and the process is what "
                "dies. The memory has to be kept where the effect is kept.",
                "effect_and_mark_in_two_steps": "The booking and the note that it is booked are two writes, and a "
                "process can die between any two. Whichever comes first, the other may be missing; one write cannot "
                "be halved.",
                "high_water_mark": "Everything up to the highest number was taken for done. A message that is "
                "delivered again comes back after newer ones, so the numbers arrive out of order and the gap is lost.",
                "sequence_as_identity": "The stream numbers what it stores, so the same order sent twice has two "
                "numbers. What makes an order the same order is its own id.",
            },
            hints=(
                "Look at the delivery counts in the cells on redelivery, and at what the record of an account already "
                "has room for.",
                "For each line of your loop: the process is killed right after it. Which lines have had their effect, "
                "and what will the server do with the message?",
                "Pull one message from the durable; start a task that says in_progress every fraction of the ack "
                "wait; price; read the account; if it does not list the id, add the amount and the id and write both "
                "at once; stop the task; ack.",
            ),
        ),
    ),
)
