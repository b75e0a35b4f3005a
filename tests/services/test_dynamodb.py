"""DynamoDB's interface: what a lesson does with it, through the client library that it uses."""

from __future__ import annotations

import boto3
import botocore.config
import botocore.exceptions
import pytest

from labsupport.errors import LearnerError, ServiceError
from labsupport.services import DynamoDB, broken

ONCE = botocore.config.Config(retries={"total_max_attempts": 1})
IMPATIENT = ONCE.merge(botocore.config.Config(read_timeout=1))


@pytest.fixture(scope="module")
def service():
    with DynamoDB() as service:
        yield service


@pytest.fixture
def client(service):
    client = boto3.client("dynamodb", config=ONCE, **service.options)
    yield client
    client.close()


@pytest.fixture
def table(client):
    client.create_table(
        TableName="stock",
        KeySchema=[{"AttributeName": "sku", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "sku", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    yield "stock"
    client.delete_table(TableName="stock")


def test_it_is_ready_on_entry_and_empty(service, client):
    assert client.list_tables()["TableNames"] == []
    assert "moto" in repr(service), "it is not Amazon's, and says so"


def test_a_condition_that_does_not_hold_changes_nothing(client, table):
    client.put_item(TableName=table, Item={"sku": {"S": "book"}, "left": {"N": "1"}})
    order = {
        "TableName": table,
        "Key": {"sku": {"S": "book"}},
        "UpdateExpression": "SET #left = #left - :one",
        "ConditionExpression": "#left >= :one",
        "ExpressionAttributeNames": {"#left": "left"},
        "ExpressionAttributeValues": {":one": {"N": "1"}},
    }
    client.update_item(**order)
    with pytest.raises(client.exceptions.ConditionalCheckFailedException):
        client.update_item(**order)
    found = client.get_item(TableName=table, Key={"sku": {"S": "book"}}, ConsistentRead=True)
    assert found["Item"]["left"] == {"N": "0"}


def test_a_transaction_happens_as_a_whole_or_not_at_all(client, table):
    new = {"TableName": table, "ConditionExpression": "attribute_not_exists(sku)"}
    client.transact_write_items(TransactItems=[{"Put": {**new, "Item": {"sku": {"S": "a"}}}}])
    with pytest.raises(client.exceptions.TransactionCanceledException):
        items = [{"Put": {**new, "Item": {"sku": {"S": name}}}} for name in ("b", "a")]
        client.transact_write_items(TransactItems=items)
    assert [item["sku"] for item in client.scan(TableName=table)["Items"]] == [{"S": "a"}]


def test_a_frozen_server_answers_when_it_goes_on(service, client):
    service.nodes[0].pause()
    impatient = boto3.client("dynamodb", config=IMPATIENT, **service.options)
    with pytest.raises(botocore.exceptions.ReadTimeoutError):
        impatient.list_tables()
    impatient.close()
    service.nodes[0].resume()
    assert client.list_tables()["TableNames"] == []


def test_a_killed_server_comes_back_empty_on_the_same_port(service, client, table):
    port = service.port
    service.nodes[0].kill()
    with pytest.raises(botocore.exceptions.EndpointConnectionError) as caught:
        client.list_tables()
    shown = broken.explanation(caught.value, {"dynamodb": service})
    assert "it was killed in this notebook" in shown.what and "dynamodb.nodes[0].restart()" in shown.do
    service.nodes[0].restart()
    assert service.port == port and client.list_tables()["TableNames"] == []
    client.create_table(
        TableName=table,
        KeySchema=[{"AttributeName": "sku", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "sku", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )


def test_it_has_one_node():
    with pytest.raises(LearnerError, match="one node"):
        DynamoDB(nodes=3)


def test_one_that_somebody_else_runs_is_used_and_left_alone(service, monkeypatch):
    monkeypatch.setenv("LAB_DYNAMODB_URL", service.url)
    with DynamoDB() as other:
        assert other.url == service.url
        with pytest.raises(ServiceError, match="not ours"):
            other.nodes[0].kill()
    assert service.nodes[0].state == "running"
