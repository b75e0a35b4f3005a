"""Programs that keep to the Maelstrom protocol, more or less: all are carried, and what is odd is counted and told."""

from __future__ import annotations

import pathlib
import sys
import time

import pytest

from labsupport.cluster.cluster import Cluster
from labsupport.cluster.report import NodeCrashed
from labsupport.errors import LearnerError, ServiceError, SetupError
from tests.cluster.test_cluster import LIMIT_S, until

PROGRAMS = pathlib.Path(__file__).resolve().parent / "programs"


def echo(manner="", **options):
    return Cluster([sys.executable, str(PROGRAMS / "echo.py"), manner], **options)


def ask(cluster, text="hello", node="n1"):
    return cluster.client().rpc(node, {"type": "echo", "echo": text}, LIMIT_S)["echo"]


def test_any_program_that_speaks_the_protocol_is_a_node():
    with echo(nodes=["n0", "n1", "n2"]) as cluster:
        assert [ask(cluster, text, text) for text in cluster.names] == ["n0", "n1", "n2"]
        until(lambda: cluster.counts["servers"]["received"] == 3, "messages with in_reply_to: null")
    assert cluster.problems == []
    assert [event.label for event in cluster.trace().of_kind("deliver") if event.peer == "n2"] == ["tick", "echo_ok"]


def test_stray_lines_are_told_and_the_node_goes_on():
    with echo("stray", nodes=2) as cluster:
        assert ask(cluster) == "hello"
    texts = [text for text in cluster.problems if text.startswith("n1 printed a line on standard output")]
    assert len(texts) == 3 and "Hello, I am a node!" in texts[0] and "is no JSON" in texts[0]
    assert "cut short" in texts[1] and "standard error" in texts[1]
    assert "n1: 2 more of this kind (stray line)." in cluster.problems


def test_a_request_may_be_passed_on_under_the_clients_name():
    with echo("proxy", nodes=3) as cluster:
        assert ask(cluster) == "hello"
        sent = [event for event in cluster.trace().of_kind("send") if event.label == "echo"]
    assert [(event.node, event.peer) for event in sent] == [("c1", "n1"), ("n1", "n3")]
    assert cluster.problems == []


def test_a_message_without_a_sender_goes_out_as_its_senders_own():
    with echo("nameless", nodes=1) as cluster:
        assert ask(cluster) == "hello"
    [problem] = cluster.problems
    assert problem.startswith('n1 sent a message without "src"')


def test_what_a_program_says_before_init_is_carried_when_its_receiver_is_ready():
    with echo("talks early", nodes=2) as cluster:
        assert ask(cluster) == "hello"
        until(lambda: cluster.counts["servers"]["received"] == 4, "all ticks")
    found = sorted(text[:30] for text in cluster.problems)
    assert found == [f'{name} sent a message without "src' for name in ("n1", "n2")]
    assert cluster.counts["held"] >= 1


def test_a_program_may_ask_a_service_before_it_answers_init():
    with echo("asks first", nodes=2) as cluster:
        assert ask(cluster) == "hello"
    assert cluster.problems == []


def test_a_message_to_nobody_is_told():
    with echo("lost", nodes=1) as cluster:
        assert ask(cluster) == "hello"
    [problem] = cluster.problems
    assert "to 'nobody', and there is nobody of that name" in problem


def test_answers_that_fit_no_request_are_dropped():
    with echo("twice", nodes=1) as cluster:
        client = cluster.client()
        assert client.rpc("n1", {"type": "echo", "echo": "x"}, LIMIT_S)["echo"] == "x"
        until(lambda: client.late == 2, "the second answer and the odd one")


def test_a_program_that_ends_is_reported_with_its_last_lines():
    with echo("dies", nodes=2) as cluster:
        with pytest.raises(NodeCrashed, match="n2 has ended by itself, with exit status 1") as crashed:
            ask(cluster, "nonsense", "n2")
        assert "  cannot echo nonsense" in str(crashed.value)
        assert cluster.logs("n2") == "cannot echo nonsense\n"
        assert [text for text in cluster.problems if "n2 has ended by itself" in text]


def test_a_program_that_ends_before_init_is_reported_at_once():
    with pytest.raises(NodeCrashed, match="exit status 3, before it answered init") as crashed:
        echo("dies early").start()
    assert "I have no licence" in str(crashed.value)


def test_a_program_that_never_answers_init_is_given_up():
    cluster = echo("deaf", nodes=2, start_s=0.5)
    with pytest.raises(ServiceError, match="n1, n2 did not answer init within"):
        cluster.start()
    assert cluster.state("n1") == "down"


def test_a_program_that_cannot_be_started_is_a_matter_of_the_machine(tmp_path):
    with pytest.raises(SetupError, match="no such file"):
        Cluster(str(tmp_path / "nowhere"))
    script = tmp_path / "node"
    script.write_text("#!/nowhere/interpreter\n")
    with pytest.raises(SetupError, match="chmod"):
        Cluster(str(script))
    script.chmod(0o700)
    with pytest.raises(SetupError, match="cannot be started"):
        Cluster(str(script)).start()
    with pytest.raises(LearnerError, match="cannot run 7"):
        Cluster(7)


def test_a_flood_on_standard_error_keeps_its_end(tmp_path):
    script = tmp_path / "loud.py"
    script.write_text(
        "import sys\n"
        "for number in range(200_000): print('line', number, file=sys.stderr)\n"
        "exec(open(sys.argv[1]).read())\n"
    )
    with Cluster([sys.executable, str(script), str(PROGRAMS / "echo.py")], nodes=1) as cluster:
        until(lambda: cluster.logs("n1").endswith("line 199999\n"), "the last line")
        assert len(cluster.logs("n1")) <= 400_000 and ask(cluster) == "hello"


def test_a_node_that_does_not_read_holds_up_nobody_else():
    with echo(nodes=2) as cluster:
        cluster.pause("n2")
        client = cluster.client()
        for _ in range(20):
            client.send("n2", {"type": "echo", "echo": "x" * 50_000})
        assert ask(cluster) == "hello"
        cluster.resume("n2")
        assert ask(cluster, "there", "n2") == "there"
        until(lambda: client.late == 20, "everything that was sent meanwhile")


def test_a_stopped_cluster_says_so_to_whoever_still_asks():
    with echo(nodes=1) as cluster:
        client = cluster.client()
    with pytest.raises(ServiceError, match="stopped"):
        client.rpc("n1", {"type": "echo", "echo": "x"})
    began = time.monotonic()
    assert cluster.logs("n1") == "" and time.monotonic() - began < LIMIT_S
    cluster.stop()  # a second time does no harm
