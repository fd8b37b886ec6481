"""What ends a benchmark, or a case of it, with a message."""


class Trouble(Exception):
    pass
