"""A plugin: memcached goes back to what fixtures of a wider scope wrote; it is not emptied."""

from urllib.parse import unquote

from berth_memcached import backend

from pytest_berth import wait_for


class KeepingCache(backend.Cache):
    """A server on which each test finds what session, module and class fixtures wrote."""

    restores = True

    def capture(self):
        """Return all values by key."""
        lines = wait_for(self._dump).splitlines()[:-1]
        return self._client.get_many([unquote(line.split()[0][len("key=") :]) for line in lines])

    def _dump(self):
        dump = self._client.raw_command("lru_crawler metadump all", b"\r\n").decode()
        return "" if dump.startswith("BUSY") else dump

    def restore(self, baseline):
        """Make the server hold what it held before."""
        self.reset()  # no other server: this asks who it is
        self._client.set_many(baseline, noreply=False)

    def changes(self, item):
        """Return a line for each key, for the report of a test that has failed."""
        return [f"{key} = {value!r:.60}" for key, value in self.capture().items()]

    def shell(self, item):
        """Return the command by which somebody can look there."""
        return "telnet {} {}".format(*self._client.server)


backend.Cache = KeepingCache
