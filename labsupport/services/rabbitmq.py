"""RabbitMQ: one node, or a cluster for quorum queues."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import secrets
import time
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from labsupport.errors import ServiceError, SetupError
from labsupport.services import erlang, ports, sources
from labsupport.services import rabbitmq_settings as settings
from labsupport.services.base import StartAgain
from labsupport.services.node import Foreign, Node
from labsupport.services.peers import PartedService
from labsupport.services.wire import NotYet, amqp

# For each quorum queue its name, in hexadecimal (the answer is text, and a name can hold anything), whether this node's
# member of it is its leader, and in which term.
QUORUM_QUEUES = """
[{lists:flatten([io_lib:format("~2.16.0b", [Byte]) || <<Byte>> <= element(4, amqqueue:get_name(Q))]), State,
  element(2, Written)}
 || Q <- rabbit_amqqueue:list(), amqqueue:get_type(Q) =:= rabbit_quorum_queue,
    {_, State} <- ets:lookup(ra_state, element(1, amqqueue:get_pid(Q))),
    Written <- ets:lookup(ra_log_meta, ra_directory:uid_of(quorum_queues, element(1, amqqueue:get_pid(Q))))]
"""
NOTE_DOWN = "sys:get_status(mnesia_recover), disk_log:sync(latest_log), [dets:sync(Table) || Table <- dets:all()]"
# What a queue's own process counts (the numbers that RabbitMQ publishes are up to 5 s old for a quorum queue).
QUEUE_DEPTH = """
case rabbit_amqqueue:lookup(rabbit_misc:r(VHOST, queue, NAME)) of
    {ok, Q} ->
        case amqqueue:get_type(Q) of
            rabbit_quorum_queue ->
                Count = fun(F) -> {ok, N, _} = ra:consistent_query(amqqueue:get_pid(Q), F), N end,
                {Count(fun rabbit_fifo:query_messages_ready/1), Count(fun rabbit_fifo:query_messages_checked_out/1)};
            _ ->
                [{_, Ready}, {_, Unacked}] = rabbit_amqqueue:info(Q, [messages_ready, messages_unacknowledged]),
                {Ready, Unacked}
        end;
    _ -> none
end
"""

MAKE_NAMESPACE = """
[ok = F() || F <- [
    fun() -> rabbit_vhost:add(NAME, NAME) end,
    fun() -> rabbit_vhost_limit:set(NAME, [{<<"max-connections">>, MOST}, {<<"max-queues">>, MOST}], NAME) end,
    fun() -> rabbit_auth_backend_internal:add_user(NAME, PASSWORD, NAME) end,
    fun() -> rabbit_auth_backend_internal:set_permissions(NAME, NAME, <<".*">>, <<".*">>, <<".*">>, NAME) end]]
"""
DROP_NAMESPACE = "[rabbit_auth_backend_internal:delete_user(NAME, NAME), rabbit_vhost:delete(NAME, NAME)]"

# A node answers clients a moment before its boot is over. A boot that is stopped in between never ends, and the next
# start leaves it to that boot: it says "ok" and does nothing.
STOP = """
(fun Stop() -> case whereis(rabbit_boot) of undefined -> ok = rabbit:stop(); _ -> timer:sleep(10), Stop() end end)()
"""

MOST_IN_NAMESPACE = 500  # connections, and queues; some hundred may be somebody's idea of a solution

WAITS = "Waiting for Mnesia tables"  # the last line in the log of a node that others have to join first
SURELY_WAITS_S = 1.0  # every node says so for a moment


class QueueDepth(NamedTuple):
    """How many messages are ready for a consumer, and how many are with one and not acknowledged."""

    ready: int
    unacked: int


class RabbitMQ(PartedService):
    """A RabbitMQ node, or a cluster whose quorum queues agree by Raft; clients log in with `url`.

    Args:
        nodes: 1, or 3 (5) for a cluster.
        port: the port of a single node; a free one is chosen without it.
        partitions: whether the nodes can be cut off from each other (`partition`, `heal`). A node that has not heard
            from most others for some 8 s then stops serving until it does (`pause_minority`). Otherwise a node that is
            frozen is given up after a minute, and until then some questions to the others wait for it.

    >>> with RabbitMQ() as rabbit:                                # doctest: +SKIP
    ...     connection = pika.BlockingConnection(pika.URLParameters(rabbit.url))

    It is the packaged RabbitMQ, whole, but started without its start script and with its boot shortened (see
    `erlang`): 1 s instead of 3. Its settings are environment variables and arguments, never a file
    (https://www.rabbitmq.com/docs/configure#supported-environment-variables).
    """

    system = "rabbitmq"
    user = "lab"
    has_helpers = True  # erl_child_setup
    room_mb = 5
    ready_timeout_s = 90.0
    poll_s = 0.005
    _trim = True

    def _url_of(self, host: str, port: int) -> str:
        return f"amqp://{self.user}:{self.password}@{host}:{port}/%2F"

    def _room_mb(self) -> int:
        return 50 + super()._room_mb()  # with less than 50 MB free it lets no publisher publish, and does not say so

    def _start_ours(self) -> None:
        self._boot = None
        try:
            super()._start_ours()
        except ServiceError:
            if self._boot is None or self._boot.level != "trimmed":
                raise
            self._trim = False  # perhaps the trimming is to blame: once more, plainly
            super()._start_ours()

    def _plan(self) -> list[Node]:
        self._erlang = erlang.find(os.environ.get("PATH", ""))
        home = sources.rabbitmq_home(self.program.path)
        self._boot = erlang.prepare(home, self.program.version, self._erlang, self._directory, trim=self._trim)
        self._cookie = secrets.token_hex(16)
        drawn = ports.draw(2 * self.size + (1 if self.size > 1 else 0))
        self._ports = list(drawn)
        clients, self._distribution, mapper = (
            drawn[: self.size],
            drawn[self.size : 2 * self.size],
            drawn[2 * self.size :],
        )
        if self._wanted_port is not None:
            clients = [self._wanted_port]
        self._mapper = self._port_mapper(mapper[0]) if mapper else None
        self._known_at = dict(zip(self._distribution, self._fronts(self._distribution, "rabbit"), strict=True))
        # Nodes ask the port mapper where the others are.
        self._asked_at = self._fronts(mapper, "epmd", rewrite=self._as_known)
        return [self._member(index, port) for index, port in enumerate(clients)]

    def _everybody(self) -> list[Node]:
        return list(self._nodes)  # each machine would have a port mapper of its own, so it is on every side

    def _as_known(self, said: bytes) -> bytes:
        """The port mapper's answer to the question for a node's port: where it is reached.

        (https://www.erlang.org/doc/apps/erts/erl_dist_protocol.html, PORT2_RESP)
        """
        found = self._known_at.get(int.from_bytes(said[2:4], "big")) if said.startswith(b"\x77\0") else None
        return said if found is None else said[:2] + found.to_bytes(2, "big") + said[4:]

    def _port_mapper(self, port: int) -> Node:
        """Our own epmd, in the foreground: the one that Erlang would start becomes a daemon and outlives everything."""
        directory = self._directory / "epmd"
        directory.mkdir(mode=0o700)
        return Node(
            self, "epmd", port, [self._erlang.tool("epmd"), "-port", str(port), "-address", "127.0.0.1"], directory
        )

    def _member(self, index: int, port: int) -> Node:
        name, distribution = f"rabbit-{index}@localhost", str(self._distribution[index])
        directory = self._directory / f"rabbit-{index}"
        directory.mkdir(mode=0o700)
        cookie = directory / ".erlang.cookie"
        cookie.write_text(self._cookie)
        cookie.chmod(0o400)
        (directory / "enabled_plugins").write_text("[].\n")
        # Names are resolved from these two lines: no helper processes, and the machine's own name does not matter.
        (directory / "inetrc").write_text('{lookup,[file]}.\n{host,{127,0,0,1},["localhost"]}.\n')
        variables = settings.variables(directory, name, port, distribution)
        variables |= settings.emulator(self._erlang, self._boot.plugins)
        variables |= {"RABBITMQ_DEFAULT_USER": self.user, "RABBITMQ_DEFAULT_PASS": self.password}
        argv = [self._erlang.tool("erlexec"), *self._boot.arguments, *settings.machine_flags(directory, name)]
        if self._mapper is None:
            argv += ["-erl_epmd_port", distribution]  # every name is found at that one port, so nobody need be asked
        else:
            variables["ERL_EPMD_PORT"] = str(self._asked_at[0])
            argv += ["-kernel", "inet_dist_listen_min", distribution, "inet_dist_listen_max", distribution]
            argv += settings.cluster(self.size, partitions=self.partitions)
        return Node(self, f"rabbit-{index}", port, [*argv, "-s", "rabbit", "boot"], directory, **variables)

    def _bring_up(self) -> None:
        if self._mapper is not None:
            self._others = [self._mapper]
            self._mapper._launch()
            self._until_listening(self._mapper.port, "the port mapper")
        super()._bring_up()
        if self.size > 1:
            self._until(self._replicate, "a quorum queue")

    def _replicate(self) -> None:
        """Declare a quorum queue with a member on every node, publish to it here, get the message there, delete it."""
        queue = "lab.ready"  # one name for all attempts, so that none leaves its queue behind
        kind = {"x-queue-type": "quorum", "x-quorum-initial-group-size": self.size}
        first, *others = self._nodes
        with amqp.Amqp(first.port, self.user, self.password, timeout_s=5.0) as client:
            client.open_channel()
            client.declare(queue, kind, durable=True)
            client.publish(queue, b"ready")
            for other in others:
                with amqp.Amqp(other.port, self.user, self.password, timeout_s=5.0) as elsewhere:
                    elsewhere.open_channel()
                    try:
                        elsewhere.declare(queue, passive=True)
                    except NotYet:
                        raise StartAgain("its nodes did not find each other") from None
            client.delete(queue)

    def _probe(self, node: Node, timeout_s: float) -> None:
        # Not that timeout: a node accepts a connection when its boot is nearly done, and then takes its time to
        # answer.
        _round_trip(node.port, self.user, self.password)

    def _before_kill(self, node: Node) -> None:
        """Let it note down what it has promised to remember.

        RabbitMQ answers a declaration some milliseconds before its database has the decision on disk, and a quorum
        queue is minutes old before the register of its members is
        (https://github.com/rabbitmq/rabbitmq-server/issues/15725): killed before, it comes back without the queue, or
        with an empty one. That is not what a lesson kills a node for. The messages themselves keep their own, harder
        rules.
        """
        with contextlib.suppress(ServiceError, SetupError):  # it is too busy or too broken to be asked
            self._ask(node, NOTE_DOWN, timeout_s=2.0)

    def _rejoin(self, node: Node, timeout_s: float) -> None:
        """A node that comes back before the one that stopped last waits for it, however long: then this does not."""
        others = [other for other in self._nodes if other is not node]
        waiting_since: list[float] = []

        def answers_or_waits() -> None:
            if WAITS in node.logs(1) and all(other.state != "running" or WAITS in other.logs(1) for other in others):
                waiting_since.append(time.monotonic())
                if waiting_since[-1] - waiting_since[0] > SURELY_WAITS_S:
                    return
            else:
                waiting_since.clear()
            self._probe(node, 1.0)

        self._until(answers_or_waits, f"{node.name} to answer again", timeout_s=timeout_s, watch=[node])

    # ---- asking

    def _ask(self, node: Node, expression: str, timeout_s: float = 5.0) -> str:
        index = self._nodes.index(node)
        return erlang.ask(self._erlang, node._directory, self._distribution[index], expression, timeout_s=timeout_s)

    def leader(self, queue: str | None = None, timeout_s: float = 10.0) -> Node:
        """The node that leads a quorum queue; RabbitMQ has one leader for each such queue, and none for the whole.

        Args:
            queue: its name; without it, the first quorum queue by name.
            timeout_s: how long to wait for an election to end.

        Raises:
            ServiceError: there is no leader in that time, or no such quorum queue.
        """
        if self.size == 1:
            return super().leader(timeout_s)
        return self._wait_for_leader(functools.partial(self._find_queue_leader, queue), timeout_s)

    def _queue_leaders(self) -> dict[str, dict[int, Node]]:
        """Each quorum queue with the nodes that call themselves its leader, by their term: a former one may not know
        of the next, and during an election there is none."""
        leaders: dict[str, dict[int, Node]] = {}
        answers = 0
        for node in self._nodes:
            if node.state == "running":
                with contextlib.suppress(ServiceError):  # it is behind a partition, or busy
                    answer = self._ask(node, QUORUM_QUEUES)
                    answers += 1
                    for name, state, term in re.findall(r'{"([0-9a-f]*)", *(\w+), *(\d+)}', answer):
                        terms = leaders.setdefault(bytes.fromhex(name).decode(), {})
                        if state == "leader":
                            terms[int(term)] = node
        if answers * 2 <= self.size:
            raise NotYet(f"{answers} of {self.size} nodes say which queues they have")
        return leaders

    def _find_queue_leader(self, queue: str | None) -> Node | None:
        leaders = self._queue_leaders()
        wanted = queue if queue is not None else min(leaders, default=None)
        if wanted not in leaders:
            raise ServiceError(
                f"There is no quorum queue {queue!r}." if queue else "There is no quorum queue yet.",
                cause="in RabbitMQ each quorum queue has a leader of its own; classic queues have none",
                do='declare one: queue_declare(name, durable=True, arguments={"x-queue-type": "quorum"})',
            )
        return leaders[wanted][max(leaders[wanted])] if leaders[wanted] else None

    def queue_depth(self, queue: str, timeout_s: float = 5.0, *, vhost: str = "/") -> QueueDepth:
        """How many messages of a queue wait, and how many are with a consumer and not yet acknowledged.

        It asks the queue itself, in some 10 ms, so it is never out of date; good for a picture drawn while workers
        run.

        Args:
            queue: its name.
            timeout_s: how long to wait for an answer, while a quorum queue elects its leader for example.
            vhost: the virtual host that it is in.

        Raises:
            ServiceError: there is no such queue, or no answer in that time.
        """
        if isinstance(self.nodes[0], Foreign):
            raise ServiceError("The depth of a queue is not known.", cause="somebody else started this RabbitMQ")
        self._running()
        expression = QUEUE_DEPTH.replace("NAME", _binary(queue)).replace("VHOST", _binary(vhost))
        answer = self._until(lambda: self._ask_any(expression), f"queue {queue!r}", timeout_s=timeout_s, watch=())
        if answer == "none":
            raise ServiceError(f"There is no queue {queue!r}.", do="declare it first, or check its name")
        ready, unacked = re.fullmatch(r"{(\d+), *(\d+)}", answer).groups()
        return QueueDepth(int(ready), int(unacked))

    @contextlib.contextmanager
    def namespace(self) -> Iterator[str]:
        """The address of a new virtual host, with an account that may enter no other; both end with the block.

        It takes some 50 ms, and a broker of one's own a second. A broker of somebody else is given as it is. A broker
        that cannot forget the virtual host again is killed.

        Raises:
            ServiceError: the broker does not answer.
        """
        if isinstance(self.nodes[0], Foreign):
            yield self.url
            return
        name, password = f"lab-{secrets.token_hex(4)}", secrets.token_hex(16)
        make = MAKE_NAMESPACE.replace("PASSWORD", f'<<"{password}">>').replace("MOST", str(MOST_IN_NAMESPACE))
        self._about(name, make)
        url = f"amqp://{name}:{password}@127.0.0.1:{self.port}/{name}"
        try:
            self._until(lambda: self._probe_address(url), "a new virtual host")
            yield url
        finally:
            if self.nodes[0].state == "running":
                try:
                    self._about(name, DROP_NAMESPACE)
                except ServiceError:
                    self.nodes[0].kill()

    @contextlib.contextmanager
    def down(self) -> Iterator[None]:
        """The broker shuts down before the block and starts again after it, in its process, which goes on.

        It is what `rabbitmqctl stop_app` and `start_app` do. Clients and queues cannot tell it from a process that is
        terminated and restarted, and it takes a sixth of the time.

        Raises:
            ServiceError: it does not shut down or does not answer again.
        """
        node = self.nodes[0]
        if isinstance(node, Foreign):
            node._refuse()
        node._must_be_up("shut down")
        self._ask(node, STOP, timeout_s=20.0)
        try:
            yield
        finally:
            self._ask(node, "ok = rabbit:start()", timeout_s=60.0)
            self._until(self._probe_of(node), f"{node.name} to answer again")

    def _about(self, namespace: str, expression: str) -> None:
        self._ask(self.nodes[0], expression.replace("NAME", f'<<"{namespace}">>'), timeout_s=20.0)

    def _ask_any(self, expression: str) -> str:
        """The answer of the first node that has one."""
        refusal = "no node is running"
        for node in self._nodes:
            if node.state == "running":
                try:
                    return self._ask(node, expression)
                except ServiceError as error:
                    refusal = error.cause or error.what
        raise NotYet(refusal)

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        vhost = unquote(address.path[1:]) or "/"
        user, password = unquote(address.username or "guest"), unquote(address.password or "guest")
        _round_trip(address.port or 5672, user, password, address.hostname, vhost)


def _binary(text: str) -> str:
    """A text as Erlang reads it, whatever is in it."""
    return "<<" + ",".join(map(str, text.encode())) + ">>"


def _round_trip(port: int, user: str, password: str, host: str = "127.0.0.1", vhost: str = "/") -> None:
    """Publish with a confirm to a queue that ends with the connection, and get the message back."""
    queue = f"lab.ready.{secrets.token_hex(4)}"
    with amqp.Amqp(port, user, password, host=host, vhost=vhost) as client:
        client.open_channel()
        client.declare(queue, exclusive=True)
        client.publish(queue, b"ready")
        if client.get(queue) != b"ready":
            raise NotYet("the message did not come back")
