"""Alpaca's own SDK for Python reads order updates from a simulator, told of it by its URL and by nothing else.

Usage: order_updates.py everything|refused URL. Prints one JSON line of what came, and exits 0 if that is all that should.
"""

import collections
import json
import logging
import sys
import threading

from alpaca.trading.enums import OrderClass, OrderStatus
from alpaca.trading.models import TradeUpdate
from alpaca.trading.stream import TradingStream

BOUND = 60
ENOUGH = 400


class Troubles(logging.Handler):
    """What the SDK complains of."""

    def __init__(self):
        super().__init__(logging.WARNING)
        self.texts = []
        self.first = threading.Event()

    def emit(self, record):
        self.texts.append(record.getMessage())
        self.first.set()


def check(update):
    assert isinstance(update, TradeUpdate), f"a {type(update).__name__}"
    order, event = update.order, str(getattr(update.event, "value", update.event))
    if event in ("fill", "partial_fill"):
        assert update.price > 0 and update.qty > 0, f"{update}"
        if order.order_class == OrderClass.MLEG:
            assert order.symbol is None and len(order.legs) == 2, f"{order}"
        else:
            assert update.position_qty is not None and update.execution_id, f"{update}"
    if event == "fill":
        assert order.status == OrderStatus.FILLED and order.filled_at, f"{order}"
    if event == "replaced":
        assert order.replaced_by is not None, f"{order}"
    return event


def everything(stream, troubles):
    events, wrong, enough = collections.Counter(), [], threading.Event()

    async def handle(update):
        try:
            events[check(update)] += 1
        except Exception as error:
            wrong.append(repr(error))
        if wrong or sum(events.values()) >= ENOUGH:
            enough.set()

    stream.subscribe_trade_updates(handle)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    came = enough.wait(BOUND)
    print(json.dumps(events))
    if not came or wrong:
        return f"{events} {wrong[:3]}"
    stream.stop()
    thread.join(BOUND)
    if thread.is_alive():
        return "it does not stop"
    return f"the SDK says {troubles.texts[:3]}" if troubles.texts else None


def refused(stream, troubles):
    async def handle(update):
        pass

    stream.subscribe_trade_updates(handle)
    thread = threading.Thread(target=stream.run, daemon=True)
    thread.start()
    troubles.first.wait(BOUND)
    stream.stop()
    thread.join(BOUND)
    print(json.dumps(troubles.texts))
    return "it does not stop" if thread.is_alive() else None


def main(what, url):
    troubles = Troubles()
    logging.getLogger("alpaca").addHandler(troubles)
    stream = TradingStream("PKPYTHON", "python-secret", url_override=url)
    return {"everything": everything, "refused": refused}[what](stream, troubles)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
