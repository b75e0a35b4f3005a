"""The checks of lesson 02: a learner's gRPC servers and clients, called by ours and calling ours."""
