"""A fuzzing server in the manner of Autobahn's sections 12 and 13: compressed messages of all sizes, whole and in
fragments, under every parameter of RFC 7692 that a server may ask for. It takes what comes back, and says what was wrong.

Prints one line of ports, then one line for each port once its client has asked it for a report. Ends when its standard
input does.
"""

import os
import random
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.sync.server import serve

SIZES = [0, 1, 16, 125, 126, 1024, 8192, 65535, 65536, 131072]
# No fragments, and fragments of so many bytes.
CUTS = [None, 1, 256, 32768]
CASES = [(size, cut) for size in SIZES for cut in CUTS if cut is None or 0 < size <= cut * 128]
MESSAGES = 6

PARAMETERS = [{}]
PARAMETERS += [{"server_max_window_bits": bits} for bits in range(9, 16)]
PARAMETERS += [{"server_no_context_takeover": True}, {"client_no_context_takeover": True}]
PARAMETERS += [{"client_max_window_bits": bits} for bits in (8, 9, 15)]
PARAMETERS += [
    {
        "server_no_context_takeover": True,
        "client_no_context_takeover": True,
        "server_max_window_bits": 9,
        "client_max_window_bits": 9,
        "compress_settings": {"level": level},
    }
    for level in (0, 1, 9)
]


def message(dice, size, number):
    kind = number % 3
    if kind == 0:
        # Like what a venue sends: much of it was said before.
        items = ('{"T":"q","S":"%s","bp":%d.%02d}' % (dice.choice(["KO", "PEP"]), dice.randrange(9), dice.randrange(99)) for _ in range(size // 24 + 1))
        return ",".join(items)[:size]
    if kind == 1:
        return dice.randbytes(size)
    return "ä" * (size // 2) + "." * (size % 2)


class Server:
    def __init__(self, parameters):
        self.parameters = parameters
        self.wrong = []
        self.done = 0
        settings = dict(parameters)
        factory = ServerPerMessageDeflateFactory(compress_settings=settings.pop("compress_settings", None), **settings)
        self.server = serve(self.handle, "127.0.0.1", 0, compression=None, extensions=[factory], max_size=None)
        self.port = self.server.socket.getsockname()[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handle(self, socket):
        path = socket.request.path
        try:
            if path.startswith("/getCaseCount"):
                socket.send(str(len(CASES)))
            elif path.startswith("/runCase"):
                case = int(path.split("case=")[1].split("&")[0]) - 1
                self.run(socket, *CASES[case], random.Random(case))
            else:
                print(f"{self.parameters}: {self.done} of {len(CASES)} done, wrong: {self.wrong}", flush=True)
        except ConnectionClosed as closed:
            self.wrong.append(f"{path}: {closed}")

    def run(self, socket, size, cut, dice):
        if not socket.protocol.extensions:
            self.wrong.append("it does not compress")
            return
        for number in range(MESSAGES):
            sent = message(dice, size, number)
            if cut is None:
                socket.send(sent)
            else:
                socket.send(sent[at : at + cut] for at in range(0, len(sent), cut))
                socket.ping()
            if socket.recv(timeout=60) != sent:
                self.wrong.append((size, cut, number))
        self.done += 1


servers = [Server(parameters) for parameters in PARAMETERS]
print(*(server.port for server in servers), flush=True)
sys.stdin.read()
os._exit(0)
