"""Lesson 12, Work queues: a worker that may be killed at any point, and retries with backoff."""

from __future__ import annotations

from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.workqueues.crash_safety import check_worker
from labsupport.exercises.workqueues.retry_schedule import check_retrying

LESSON = Lesson(
    number="12",
    title="Work queues",
    notebook="12_work_queues",
    minutes=70,
    systems=("rabbitmq", "redis"),
    exercises=(
        Exercise(
            id="12.1",
            title="crash-safe worker",
            points=4,
            takes=("worker",),
            check=check_worker,
            misconceptions={
                "auto_ack": "With automatic acknowledgement the broker forgets a message as soon as it has written "
                "it to the connection. All that the worker has not done yet exists in its memory only, and dies with "
                "it.",
                "ack_before_work": "An acknowledgement tells the broker that it may forget the job. Given before the "
                "work is done, it leaves a moment in which nobody remembers the job: the broker no longer, the "
                "ledger not yet.",
                "never_acks": "Without an acknowledgement the broker believes that the job is still being done. It "
                "sends no more when the prefetch limit is reached, and gives all of it to somebody else when the "
                "worker leaves.",
                "unlimited_prefetch": "Without a limit the broker sends one worker all that is in the queue. Other "
                "workers stay idle beside it, and when it dies everything that it held is delayed.",
                "not_idempotent": "A job can always come twice: redelivered, or published again by a sender that saw "
                "no confirm. Adding to a total is not harmless the second time, so the ledger has to know the ids it "
                "has counted.",
                "remembers_in_memory": "A set in memory knows the ids of one process, and dies with it. The next "
                "process gets the redelivered job and sees it for the first time.",
                "trusts_redelivered": "The redelivered mark says that the job may have been done, never that it was. "
                "A worker that dies before the work leaves a redelivered job behind, too.",
                "mark_and_effect_in_two_steps": "Two commands have a moment between them, and a worker killed there "
                "leaves a mark without its effect, or an effect without its mark. One of the two orders loses, the "
                "other counts twice.",
                "checks_then_acts": "Between asking whether a job is done and doing it, another worker can do it. "
                "The question and the act have to be one step in the store.",
                "requeues_poison_for_ever": "A message that cannot be understood now cannot be understood later. Put "
                "back into the queue it is delivered again at once, to every worker in turn, for as long as anybody "
                "listens.",
                "dies_of_poison": "An exception ends the worker, the broker puts the message back, and the next "
                "worker dies of it as well: one bad message stops the whole queue.",
                "discards_poison": "A message that is acknowledged is gone. Somebody sent it and waits, and without "
                "the dead-letter queue nobody can find out what it was.",
                "ignores_sigterm": "SIGTERM is how a supervisor asks a process to leave. One that goes on is killed "
                "after a grace period, in the middle of whatever it does then.",
                "drains_the_queue": "To drain means to finish the jobs in hand, not all that wait. For each "
                "acknowledgement the broker sends another job, so a stop that waits for an empty buffer, as "
                "callbacks of pika do, waits for an empty queue.",
                "dies_at_sigterm": "Without a handler SIGTERM ends the process where it stands, as SIGKILL does, and "
                "the job in hand has to be done again by somebody else. To drain means to finish what is begun.",
                "leaves_without_goodbye": "A process that ends without cancelling its consumer looks to the broker "
                "like a crash: until it notices, it goes on sending jobs into a connection that nobody reads.",
            },
            hints=(
                "Look at the table after “Kill it at every step”: which order of work and acknowledgement loses, "
                "which repeats? Then look at how the store was asked in “One step”.",
                "At each line of your function, ask: if the process ends here, who still knows of the job, and what "
                "will the next worker find in the ledger? And what if two workers stand at this line with the same "
                "job?",
                "Set a prefetch limit; parse, and reject without requeue what does not parse; run one script in the "
                "store that writes the id if it is new and only then adds; acknowledge after it has returned; let "
                "the signal handler ask the connection to stop consuming, and close the connection when consuming "
                "has stopped.",
            ),
        ),
        Exercise(
            id="12.2",
            title="retry with backoff and a dead-letter queue",
            points=4,
            takes=("retrying_worker",),
            check=check_retrying,
            misconceptions={
                "sleeps_in_the_consumer": "A consumer that sleeps holds up everybody behind it, although nothing is "
                "wrong with their jobs. Waiting is the broker's business: it can hold thousands of messages at no "
                "cost.",
                "retries_without_limit": "A job that fails for a lasting reason fails every time. Without a limit it "
                "goes round for ever, and such jobs become more and more.",
                "requeues_at_once": "Put back with requeue, a message is delivered again in the same millisecond. "
                "Whatever was overloaded or down has had no time to recover, and is hit harder than before.",
                "same_delay_every_time": "Backoff means that each wait is longer than the one before: a fault that "
                "has lasted for a minute will not be gone in a second.",
                "off_by_one": "The first attempt is no retry. A list of n delays has n waits in it, between n + 1 "
                "attempts.",
                "loses_the_message_between_queues": "Moving a message means to publish a copy and to acknowledge the "
                "original. Acknowledged first, the message is in no queue for a moment, and a worker killed there "
                "takes it along.",
                "trusts_the_publish": "To publish is to write to a socket. Whether a queue took the message one "
                "learns from the broker: by a confirm, and by the return of a mandatory message that no queue took.",
                "drops_headers": "Headers and properties belong to whoever sent the message: its trace, its tenant, "
                "its id. A copy with new properties is a message without a past.",
                "one_queue_for_all_delays": "A queue looks at its head only: a message that is due waits until all "
                "before it are due. Messages with different delays need different queues.",
                "counts_in_memory": "The next attempt may be made by another process. A count that is not in the "
                "message itself begins anew there, and the limit is never reached.",
                "forgets_persistence": "The original was persistent, in a durable queue. The copy is so only when it "
                "is published as persistent, and the queue in which it waits is declared durable.",
                "throws_away": "After the last attempt the job still belongs to somebody. In the dead-letter queue "
                "it can be looked at, repaired and sent again; acknowledged or rejected, it is gone.",
            },
            hints=(
                "Look at “Let the broker wait”: which two arguments of a queue make a message come back by itself?",
                "Where is the number of the attempt, when another process makes the next one? And after which answer "
                "of the broker is it safe to acknowledge the original?",
                "Declare one durable queue for each delay, whose messages expire into the work queue. When the "
                "handler raises, read the count from the headers, publish the body with the same properties and the "
                "count plus one to the queue of that delay, or to the dead-letter queue after the last; mandatory, "
                "on a channel with confirms; acknowledge when the publish has returned.",
            ),
        ),
    ),
)
