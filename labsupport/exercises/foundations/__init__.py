"""The checks of lesson 01: a failure detector, unique ids and a broadcast, each watched in simulated worlds."""
