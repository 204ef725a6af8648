"""A client of memcached: the package that tests of the toy service need."""

import socket


class Client:
    """A connection; one question after the other."""

    def __init__(self, host, port):
        self._socket = socket.create_connection((host, int(port)), timeout=5)
        self._file = self._socket.makefile("r", newline="\r\n")

    def ask(self, line):
        """Return the lines of an answer."""
        self._socket.sendall(f"{line}\r\n".encode())
        answer = []
        for told in self._file:
            answer.append(told.rstrip())
            if answer[-1] in {"STORED", "DELETED", "NOT_FOUND", "OK", "END"}:
                return answer
        raise ConnectionError("it has hung up")

    def identity(self):
        """Return the token that the server was started with, and its process id."""
        settings, stats = self.ask("stats settings"), self.ask("stats")
        (token,) = (each.split()[2] for each in settings if each.startswith("STAT tcp_backlog "))
        (process,) = (each.split()[2] for each in stats if each.startswith("STAT pid "))
        return token, process

    def close(self):
        """End the connection."""
        self._file.close()
        self._socket.close()
