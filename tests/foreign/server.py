"""A server that this crate has no part in, with literal frames in Alpaca's stock protocol.

Listens on a free port and prints it. Ends when its standard input does.
"""

import json
import os
import sys
import threading

from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

# What the venue may send: whitespace, any order of keys, exponents, 17 digits, whole numbers, escapes, fields and types
# that nobody has heard of. Each is sent as it stands, one frame a line of the list.
FRAMES = [
    r"""[{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"],"z":"A","t":"2026-03-17T14:30:05.12Z"}]""",
    r""" [ {"t" : "2026-03-17T14:30:05.123456789Z", "S":"PEP", "bp":152.1, "bs":2, "ap":140, "as":1,
        "ax":"Q", "bx":"", "c":["R"," "], "z":"C", "r":"2026-03-17T14:30:05.2Z", "T":"q"} ,
        {"T":"t","S":"KO","i":9007199254740993,"x":"\u0056","p":187.12345678901234,"s":0.5,"c":[],"z":"\u003c","t":"2026-03-17T14:30:06Z"} ]""",
    r"""[{"T":"zz","S":"KO","what":"is this"},{"T":"b","S":"KO","o":1e-7,"h":140,"l":1E-7,"c":1.50,"v":0,"n":3,"vw":null,"t":"2026-03-17T14:29:00Z"}]""",
    r"""[{"T":"t","S":"KO","i":71205,"x":"P","p":null,"s":1,"c":["@"],"z":"A","t":"2026-03-17T14:30:07Z"},{"T":"d","S":"KO","o":60,"h":62.5,"l":59.99,"c":61,"v":12345678,"t":"2026-03-17T04:00:00Z"}]""",
    r"""[{"T":"c","S":"KO","x":"P","oi":71204,"op":61.275,"os":40,"oc":["@"],"ci":71300,"cp":61.28,"cs":41,"cc":["@"],"z":"A","t":"2026-03-17T14:30:08Z"},{"T":"x","S":"KO","i":71300,"x":"P","p":61.28,"s":41,"a":"C","z":"A","t":"2026-03-17T14:30:09.5Z"}]""",
]

CHANNELS = ["trades", "quotes", "bars", "updatedBars", "dailyBars"]


def session(socket):
    socket.send('[{"T":"success","msg":"connected"}]')
    login = json.loads(socket.recv())
    if login != {"action": "auth", "key": "PKFOREIGN", "secret": "foreign-secret"}:
        socket.send('[{"T":"error","code":402,"msg":"auth failed"}]')
        return
    socket.send('[{"T":"success","msg":"authenticated"}]')
    request = json.loads(socket.recv())
    assert request.pop("action") == "subscribe", request
    state = {channel: request.get(channel, []) for channel in CHANNELS}
    state |= {"statuses": [], "lulds": None, "corrections": state["trades"], "cancelErrors": state["trades"]}
    socket.send(json.dumps([{"T": "subscription", **state}]))
    for frame in FRAMES:
        socket.send(frame)
    # Until the client closes.
    for _ in socket:
        pass


def handle(socket):
    try:
        session(socket)
    except ConnectionClosed:
        pass


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


with serve(handle, "127.0.0.1", 0) as server:
    print(server.socket.getsockname()[1], flush=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    server.serve_forever()
