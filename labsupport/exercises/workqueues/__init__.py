"""The checks of lesson 12: workers on RabbitMQ, killed at chosen points."""
