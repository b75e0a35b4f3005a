"""Lesson 01, Why distributed systems: a failure detector, unique ids and a broadcast."""

from __future__ import annotations

from labsupport.exercises.catalogue import Exercise, Lesson
from labsupport.exercises.foundations import broadcast, detector, ids

LESSON = Lesson(
    number="01",
    title="Why distributed systems",
    notebook="01_why_distributed",
    minutes=75,
    systems=("redis",),
    exercises=(
        Exercise(
            id="01.1",
            title="failure detector",
            points=3,
            takes=("Detector",),
            check=detector.check_detector,
            misconceptions={
                "timer_set_once": "A timer goes off once. What is to happen again and again has to set it again each "
                "time that it goes off.",
                "one_lost_heartbeat": "Networks lose messages. A heartbeat that does not come says as much about the "
                "network as about its sender, so a detector waits for several of them before it speaks.",
                "never_restores": "A suspicion is a guess, and a heartbeat refutes it. A detector that does not take "
                "it back turns every short cut of the network into a death.",
                "trusts_the_senders_clock": "The time in a heartbeat was read from another clock. The two may differ "
                "by minutes, and nothing tells by how much; only times of one clock can be compared.",
                "never_suspects_the_silent": "A node that has never been heard may be dead as well. The silence begins "
                "when you begin to listen, not with the first heartbeat.",
                "fixed_timeout": "One limit for all links, for ever, is too short for the slowest of them. Being wrong "
                "about a node is news about its link: wait longer for that one from then on.",
                "learns_too_slowly": "The limit grows with each mistake, but by so little that many more will follow. "
                "Each mistake tells how long the silence was; grow by that, or double.",
                "one_timeout_for_all": "What was learned about one slow link was taken for a fact about all. Now a "
                "death behind a quick link goes unnoticed for as long as one behind the slow link.",
                "too_patient": "A limit that is never wrong is easy to have: wait very long. But until the suspicion "
                "comes, everybody goes on sending work to a dead node.",
                "gives_up_on_a_slow_node": "A node that was suspected wrongly is still one that can die. To stop "
                "suspecting it is the other way to be wrong for ever.",
                "checks_only_when_hearing": "Silence brings no message. Who looks at the clock only when one comes in "
                "notices nothing when none comes in at all: it needs a timer.",
                "restart_looks_old": "A node that starts again counts from one again, with nothing in its memory. Its "
                "heartbeats are new, whatever number they carry.",
                "repeats_itself": "A suspicion begins and ends. A note at every look says nothing new, and whoever "
                "acts on notes would act again each time.",
                "clock_starts_at_zero": "A clock shows some time when a node starts, and nobody promises which. Only "
                "the difference of two readings of one clock means something.",
                "one_timer_for_all": "One timer that any heartbeat sets anew goes off when all are silent together. "
                "One dead node among the living never lets it.",
            },
            hints=(
                "Look at the table of waits and mistakes above: what does a longer wait cost, what a shorter one? And "
                "which of the two ends of a link knows when a heartbeat was due?",
                "What do you have to know of each peer, and when does it change: at the start, at a heartbeat, at a "
                "look at the clock? What has the detector learned when a suspected node speaks?",
                "Per peer: when it was last heard on your own clock (from the start on), how long you wait for it, and "
                "whether you suspect it. One timer sends the heartbeats and looks at all peers; a heartbeat of a "
                "suspected peer restores it and lets you wait longer for it from then on.",
            ),
            cases=detector.SITUATIONS,
        ),
        Exercise(
            id="01.2",
            title="unique ids in a partition",
            points=2,
            takes=("Generator",),
            check=ids.check_ids,
            misconceptions={
                "no_node_id": "Nodes that begin alike and are asked alike give alike answers. What only one of them "
                "has is its name.",
                "wall_clock_only": "A time is no name: two nodes can be asked at the same time, and so can one.",
                "two_in_one_tick": "A clock has ticks, and between two of them any number of requests can come. It "
                "takes something that changes with every id.",
                "small_random_space": "Equal draws come much sooner than one thinks: among a million numbers two of "
                "twelve hundred are more likely equal than not. It takes so many bits that chance can be forgotten.",
                "counter_lost_on_restart": "A crash takes everything that was not saved. The counter begins anew, and "
                "gives out what it has given out before.",
                "saves_after_answering": "A crash can come between any two lines. If the answer has left and the "
                "counter is not yet on the disk, the next life gives the same id again.",
                "asks_another_node": "A node that has to ask another one is as available as the worse of the two and "
                "the network between them. In a partition it has no answer at all.",
                "no_separator": "n1 and 11 read like n11 and 1 when they are written without anything in between.",
                "clock_set_back": "A clock can show the same time twice: it is set back, or its machine has no battery "
                "and begins at the same time at each start. Only what is on the disk tells one life from another.",
            },
            hints=(
                "Look at what the coordinator's nodes were waiting for, and at what a node knows without asking.",
                "Which two ids could be equal: of two nodes, of one node, of two lives of one node? What makes each of "
                "these pairs differ?",
                "An id of the node's name, something between, and a number that no earlier life of the node has used; "
                "what makes the number new has to be on the disk before the answer leaves.",
            ),
            cases=ids.SITUATIONS,
        ),
        Exercise(
            id="01.3",
            title="broadcast",
            points=5,
            takes=("Broadcaster",),
            check=broadcast.check_broadcast,
            misconceptions={
                "sends_once": "A message that was lost is lost. Whoever wants it to arrive keeps it until the other "
                "side has said that it has it, and sends it again meanwhile.",
                "no_dedupe": "A message can come twice, by the network's doing or by two ways through it. A node that "
                "does not recognise what it has had passes it on each time, and the copies multiply.",
                "resends_for_ever": "Sending again has to have an end: the acknowledgement. Without one nobody ever "
                "knows that he may stop, and the traffic grows with every value there has ever been.",
                "whole_set_on_each_change": "Each change sends all that was ever known. It is simple and it heals "
                "everything, and after a million values each new one costs a million.",
                "seen_mark_lost_at_restart": "The values survived the restart, the memory of having seen them did not. "
                "A late copy is news again: it is stored twice or passed on once more. What is seen follows from what "
                "is stored.",
                "tells_only_its_neighbours": "A node's neighbours are not everybody. What a node learns from one "
                "neighbour, the others may not know: it has to pass it on.",
                "waits_for_the_next_round": "A value waits at every node for the next round, and the waits add up "
                "along the way. Send what is new at once, and use the timer for what was lost.",
                "everyone_tells_everyone": "If all n nodes tell all others, a value takes n² messages, nearly all of "
                "them to nodes that have it. The topology is there to tell each node's few neighbours.",
                "resends_too_soon": "An answer needs the time of a round trip. Whoever asks again before that sends "
                "everything several times on a network that has lost nothing.",
                "answers_only_when_all_have_it": "broadcast_ok says that the node has the value, not that all have it. "
                "A node that waits for the others cannot answer while one of them is cut off.",
                "gives_up_after_a_few_tries": "A partition may last longer than any number of tries. Giving up is "
                "losing the value, only later.",
                "backs_off_without_bound": "Waits that double for ever become longer than the partition was. The "
                "network has healed, and the next try is still far away: doubling needs a bound.",
                "forgets_at_restart": "What is only in memory is gone after a crash, and the client was told that the "
                "value is safe.",
                "forgets_its_neighbours": "The topology comes once. A node that keeps it in memory has no neighbours "
                "after a restart, and passes nothing on.",
                "forgets_what_it_owes": "The value survived the restart, the debt did not: nobody remembers who still "
                "lacks it. After a restart a node does not know what its neighbours have, so it has to tell them.",
                "answers_before_saving": "An acknowledgement is a promise. Given before the value is on the disk, it "
                "is broken by a crash in between: everybody believes that this node has it.",
                "value_and_debt_in_two_steps": "The value was saved, and the node crashed before it had saved whom it "
                "owes it to. What belongs together goes to the disk in one step, or the one follows from the other.",
            },
            hints=(
                "Look at the two runs of the naive node: which message was missing, and who could have known? Count "
                "the messages of the run in which everybody tells everybody.",
                "For each value and each neighbour: how does a node know that the neighbour has it? What does it do "
                "until it knows, and what does a node that has just started know?",
                "Save a new value before anything else; pass it on to the neighbours but the one it came from; keep "
                "for each neighbour the values that it has not acknowledged, and send those again on a timer; "
                "acknowledge every copy, learn only from the first; after a restart owe everything to everybody.",
            ),
            cases=broadcast.SITUATIONS,
        ),
    ),
)
