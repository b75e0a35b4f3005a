"""When a cell fails because a broker is down: say so."""


def install() -> None: ...
