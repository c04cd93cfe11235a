"""Alpaca's own SDK for Python, pointed at a simulator by its URL and by nothing else.

Usage: market_data.py everything|refused URL, or market_data.py proxied URL PROXY. Prints what came in JSON, and exits 0
if that is all that should.
"""

import datetime
import json
import logging
import sys
import threading
import urllib.parse

from alpaca.data.live import CryptoDataStream, NewsDataStream, OptionDataStream, StockDataStream
from alpaca.data.models import Bar, News, Orderbook, Quote, Trade, TradeCancel, TradeCorrection, TradingStatus
from python_socks.sync import Proxy

BOUND = 30
ENOUGH = 3


class Judge:
    """One stream: what it is subscribed to, and what has come of each kind."""

    def __init__(self, stream):
        self.stream = stream
        self.seen = {}
        self.wrong = []
        self.enough = threading.Event()
        self.thread = threading.Thread(target=stream.run, daemon=True)

    def handler(self, kind, check):
        self.seen[kind] = 0

        async def handle(item):
            try:
                assert isinstance(item, check[0]), f"a {type(item).__name__}"
                assert check[1](item), f"{item}"
            except Exception as error:
                self.wrong.append(f"{kind}: {error!r}")
            self.seen[kind] += 1
            if all(count >= ENOUGH for count in self.seen.values()):
                self.enough.set()

        return handle


def recent(item):
    age = datetime.datetime.now(datetime.timezone.utc) - item.timestamp
    return abs(age) < datetime.timedelta(hours=1)



TRADE = (Trade, lambda trade: recent(trade) and trade.price > 0 and trade.size > 0)
QUOTE = (Quote, lambda quote: recent(quote) and 0 < quote.bid_price < quote.ask_price)
BAR = (Bar, lambda bar: bar.low <= bar.open <= bar.high and bar.low <= bar.close <= bar.high)
STATUS = (TradingStatus, lambda status: recent(status) and status.status_code in "HT")
CORRECTION = (TradeCorrection, lambda correction: recent(correction) and correction.corrected_id > correction.original_id)
CANCEL = (TradeCancel, lambda cancel: recent(cancel) and cancel.action == "C")
BOOK = (Orderbook, lambda book: recent(book) and len(book.bids) + len(book.asks) > 0)
ARTICLE = (News, lambda news: news.headline and "<p>" in news.content and news.updated_at >= news.created_at)

# What each stream is subscribed to: the method's end, what comes, and the symbols.
STOCKS = ["AAPL", "MSFT"]
COINS = ["BTC/USD", "ETH/USD"]
CONTRACTS = ["AAPL271217C00250000", "MSFT271217C00450000"]
SUBSCRIPTIONS = {
    "stocks": [
        ("trades", TRADE, STOCKS),
        ("quotes", QUOTE, ["*"]),
        ("bars", BAR, STOCKS),
        ("updated_bars", BAR, ["*"]),
        ("daily_bars", BAR, STOCKS),
        ("trading_statuses", STATUS, ["*"]),
    ],
    "crypto": [
        ("trades", TRADE, COINS),
        ("quotes", QUOTE, COINS),
        ("bars", BAR, ["*"]),
        ("updated_bars", BAR, COINS),
        ("daily_bars", BAR, COINS),
        ("orderbooks", BOOK, COINS),
    ],
    "options": [("trades", TRADE, ["*"]), ("quotes", QUOTE, CONTRACTS)],
    "news": [("news", ARTICLE, ["*"])],
    # More than fits into one frame of this SDK's: the request comes in pieces.
    "many": [("quotes", QUOTE, [f"MANY{number}" for number in range(5000)])],
}
STREAMS = {
    "stocks": (StockDataStream, "/v2/iex"),
    "crypto": (CryptoDataStream, "/v1beta3/crypto/us"),
    "options": (OptionDataStream, "/v1beta1/indicative"),
    "news": (NewsDataStream, "/v1beta1/news"),
    "many": (StockDataStream, "/v2/sip"),
}


class Records(logging.Handler):
    """The SDK's own log: what it says of subscriptions, and everything that troubles it."""

    def __init__(self):
        super().__init__()
        self.states = threading.Semaphore(0)
        self.troubles = []

    def emit(self, record):
        text = record.getMessage()
        if text == "subscribed to ":
            self.states.release()
        if record.levelno >= logging.WARNING:
            self.troubles.append(text)


def unsubscribe(judge, name):
    for method, _, symbols in SUBSCRIPTIONS[name]:
        ending = getattr(judge.stream, f"unsubscribe_{method}", None)
        if ending is not None:
            ending(*symbols)
        else:
            # There is no method for some of the channels, only what the others call.
            judge.stream._unsubscribe({"trading_statuses": "statuses"}[method], symbols)


def through(proxy, url):
    """The SDK's settings for one connection through a proxy, which looks up the host's name.

    The SDK has no setting for a proxy, and the client of `websockets` that it is built on takes neither `proxy=` nor the
    variables of the environment: it would go straight to the host. What it takes is a socket that is connected already.
    """
    venue = urllib.parse.urlsplit(url)
    # The package has no word for SOCKS 5 with names looked up by the proxy, but a setting.
    proxy = proxy.replace("socks5h:", "socks5:")
    sock = Proxy.from_url(proxy, rdns=True).connect(venue.hostname, venue.port, timeout=BOUND)
    # They replace the SDK's own, which are these.
    return {"ping_interval": 10, "ping_timeout": 180, "max_queue": 1024, "sock": sock}


def judged(url, records, names, proxy=None):
    """What is wrong with these streams, or nothing; and what came."""
    judges = {}
    for name in names:
        kind, path = STREAMS[name]
        line = through(proxy, url) if proxy else None
        stream = kind("PKPYTHON", "python-secret", url_override=url + path, websocket_params=line)
        judge = judges[name] = Judge(stream)
        for method, check, symbols in SUBSCRIPTIONS[name]:
            getattr(judge.stream, f"subscribe_{method}")(judge.handler(method, check), *symbols)
        if name == "stocks":
            judge.stream.register_trade_corrections(judge.handler("corrections", CORRECTION))
            judge.stream.register_trade_cancels(judge.handler("cancels", CANCEL))
        judge.thread.start()
    for name, judge in judges.items():
        if not judge.enough.wait(BOUND):
            return f"not enough of {name}: {judge.seen}"
        if judge.wrong:
            return f"{name}: {judge.wrong[:3]}"
    # A proxied one is stopped while it reads: this SDK notices a stop with the next event, or after five seconds.
    for name, judge in judges.items() if proxy is None else []:
        unsubscribe(judge, name)
        # The reply in which every list is empty.
        if not records.states.acquire(timeout=BOUND):
            return f"{name} is still subscribed"
    for judge in judges.values():
        judge.stream.stop()
    for name, judge in judges.items():
        judge.thread.join(BOUND)
        if judge.thread.is_alive():
            return f"{name} does not stop"
    print(json.dumps({name: judge.seen for name, judge in judges.items()}))
    return None


def everything(url, records):
    # Five thousand more stocks would leave little time for two of them: they come last.
    wrong = judged(url, records, ["stocks", "crypto", "options", "news"]) or judged(url, records, ["many"])
    return wrong or (f"the SDK says {records.troubles[:3]}" if records.troubles else None)


def proxied(url, records, proxy):
    wrong = judged(url, records, ["stocks"], proxy)
    return wrong or (f"the SDK says {records.troubles[:3]}" if records.troubles else None)


def refused(url, records):
    """A feed that is not in the plan: this SDK stops for good, if it is told so in the right words."""
    judge = Judge(StockDataStream("PKPYTHON", "python-secret", url_override=url + "/v2/sip"))
    judge.stream.subscribe_trades(judge.handler("trades", TRADE), "AAPL")
    judge.thread.start()
    judge.thread.join(BOUND)
    print(json.dumps(records.troubles))
    return "it goes on" if judge.thread.is_alive() else None


def main(what, url, *proxy):
    records = Records()
    logging.getLogger("alpaca").setLevel(logging.INFO)
    logging.getLogger("alpaca").addHandler(records)
    return {"everything": everything, "proxied": proxied, "refused": refused}[what](url, records, *proxy)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
