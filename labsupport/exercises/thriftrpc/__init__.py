"""The checks of lesson 03: a service with declared exceptions, a definition that changes, protocols and transports."""
