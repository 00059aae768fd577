"""A proxy in front of the head, whose connections can be cut."""

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Forwards TCP connections, until they are cut.

    Attributes:
        address: its URL.
    """

    def __init__(self, target: str):
        host, _, port = target.removeprefix("http://").partition(":")
        self._target = (host, int(port))
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._is_cut, self._open = False, set[socket.socket]()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections, and those that are opened from now on."""
        self._is_cut = True
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        self._is_cut = False

    def close(self) -> None:
        self.cut()
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._server.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            if self._is_cut:
                return
            head = stack.enter_context(socket.create_connection(self._target))
            self._open |= {client, head}
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ, head)
                selector.register(head, selectors.EVENT_READ, client)
                while True:
                    for key, _ in selector.select():
                        data = key.fileobj.recv(2**16)
                        if not data:
                            return
                        key.data.sendall(data)
