"""DynamoDB's interface, by moto's server: one process that keeps its tables in memory.

Amazon's own DynamoDB Local may not be used without an AWS account in good standing, says its licence (LICENSE.txt in
software.amazon.dynamodb:DynamoDBLocal), so we do not fetch it; who has it running somewhere names it in
LAB_DYNAMODB_URL.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from labsupport.errors import LearnerError
from labsupport.services import ports
from labsupport.services.base import Service
from labsupport.services.node import Node
from labsupport.services.wire import NotYet, http

# moto serves many systems on one port, and knows from the signature, which it does not check, which of them is meant.
SIGNATURE = "AWS4-HMAC-SHA256 Credential=lab/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0"
LIST_TABLES = {
    "X-Amz-Target": "DynamoDB_20120810.ListTables",
    "Content-Type": "application/x-amz-json-1.0",
    "Authorization": SIGNATURE,
}


class DynamoDB(Service):
    """DynamoDB's interface by moto's server; `options` are those of a boto3 client.

    It has items, conditions, transactions, secondary indexes and their errors, as AWS answers. It has no partitions on
    several machines, no throttling and no copies that lag behind, and it forgets everything when it is killed.

    Args:
        port: the port; a free one is chosen without it.

    >>> with DynamoDB() as dynamodb:                              # doctest: +SKIP
    ...     client = boto3.client("dynamodb", **dynamodb.options)

    (https://docs.getmoto.org/en/latest/docs/server_mode.html)
    """

    system = "dynamodb"

    def __init__(self, nodes: int = 1, *, port: int | None = None) -> None:
        if nodes != 1:
            raise LearnerError(f"DynamoDB has one node here, not {nodes!r}.", do="write DynamoDB()")
        super().__init__(nodes, port=port)

    @property
    def title(self) -> str:
        return "DynamoDB (moto's server)" if self.program else super().title

    @property
    def options(self) -> dict[str, str]:
        """What `boto3.client("dynamodb", ...)` wants to know."""
        keys = {"aws_access_key_id": "lab", "aws_secret_access_key": self.password}  # any will do
        return {"endpoint_url": self.url, "region_name": "us-east-1", **keys}

    def _url_of(self, host: str, port: int) -> str:
        return f"http://{host}:{port}"

    def _plan(self) -> list[Node]:
        self._ports = ports.draw(1)
        port = self._wanted_port or self._ports[0]
        directory = self._directory / "dynamodb-0"
        directory.mkdir(mode=0o700)
        return [Node(self, directory.name, port, [self.program.path, "-H", "127.0.0.1", "-p", str(port)], directory)]

    def _probe(self, node: Node, timeout_s: float) -> None:
        # It asks for no password: a stranger on its port would answer before our own had noticed that it is taken.
        with open(node._log, "rb") as log:
            if f"Running on http://127.0.0.1:{node.port}" not in log.read(1000).decode(errors="replace"):
                raise NotYet("it has not got its port")
        http.request(node.port, "/", {}, timeout_s=1.0, headers=LIST_TABLES)  # the first answer takes a while

    def _probe_address(self, url: str) -> None:
        address = urlsplit(url)
        http.request(address.port or 80, "/", {}, timeout_s=1.0, host=address.hostname, headers=LIST_TABLES)
