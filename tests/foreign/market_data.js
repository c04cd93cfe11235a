// Alpaca's own SDK for Node, pointed at a simulator by its URL and by nothing else.
//
// Usage: market_data.js PACKAGES everything|refused URL [URL]. Prints one JSON line of what came, and exits 0 if that is
// all that should.
"use strict";

const { createRequire } = require("node:module");
const { join } = require("node:path");

const [, , packages, what, url, planUrl] = process.argv;
const alpaca = createRequire(join(packages, "package.json"))("@alpacahq/alpaca-trade-api").streaming;

const BOUND = 30_000;
const ENOUGH = 3;

const recent = (item) => Math.abs(Date.now() - item.timestamp.getTime()) < 3_600_000 && /Z$/.test(item.timestampRaw);
const trade = (trade) => recent(trade) && trade.price > 0 && trade.size > 0;
const quote = (quote) => recent(quote) && 0 < quote.bidPrice && quote.bidPrice < quote.askPrice;
const bar = (bar) => bar.low <= bar.open && bar.open <= bar.high && bar.tradeCount >= 0 && !Number.isNaN(bar.timestamp.getTime());
const status = (status) => recent(status) && "HT".includes(status.statusCode);
const band = (band) => recent(band) && band.limitDownPrice < band.limitUpPrice;
const imbalance = (imbalance) => recent(imbalance) && imbalance.price > 0;
const correction = (correction) => recent(correction) && correction.correctedId > correction.originalId;
const cancel = (cancel) => recent(cancel) && cancel.action === "C";
// An id above 2^53 is exact as a text alone.
const coin = (trade_) => trade(trade_) && BigInt(trade_.idRaw) > 2n ** 53n && "BS-".includes(trade_.takerSide);
const book = (book) => recent(book) && book.bids.length + book.asks.length > 0;
const article = (news) => news.headline && news.content.includes("<p>") && news.updatedAt >= news.createdAt;

// Each stream: its class and path, and for each channel the end of the listener's name, what comes, and the symbols.
const STOCKS = ["AAPL", "MSFT"];
const COINS = ["BTC/USD", "ETH/USD"];
const CONTRACTS = ["AAPL271217C00250000", "MSFT271217C00450000"];
const STREAMS = {
  stocks: [alpaca.StockDataStream, "/v2/iex", {
    Trades: ["Trade", trade, STOCKS],
    Quotes: ["Quote", quote, ["*"]],
    Bars: ["Bar", bar, STOCKS],
    UpdatedBars: ["UpdatedBar", bar, ["*"]],
    DailyBars: ["DailyBar", bar, STOCKS],
    Statuses: ["Status", status, ["*"]],
    Lulds: ["Luld", band, ["*"]],
    Imbalances: ["Imbalance", imbalance, ["*"]],
  }, { Correction: correction, CancelError: cancel }],
  crypto: [alpaca.CryptoDataStream, "/v1beta3/crypto/us", {
    Trades: ["Trade", coin, COINS],
    Quotes: ["Quote", quote, COINS],
    Bars: ["Bar", bar, ["*"]],
    UpdatedBars: ["UpdatedBar", bar, COINS],
    DailyBars: ["DailyBar", bar, COINS],
    Orderbooks: ["Orderbook", book, COINS],
  }, {}],
  options: [alpaca.OptionDataStream, "/v1beta1/opra", {
    Trades: ["Trade", trade, ["*"]],
    Quotes: ["Quote", quote, CONTRACTS],
  }, {}],
  news: [alpaca.NewsStream, "/v1beta1/news", { News: ["News", article, ["*"]] }, {}],
};

function within(promise, why) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(why())), BOUND);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

function open(Stream, address) {
  return new Stream({ credentials: { keyId: "PKNODE", secret: "node-secret" }, url: address, reconnect: false });
}

async function judge(name, [Stream, path, channels, automatic]) {
  const stream = open(Stream, url + path);
  const seen = {};
  const wrong = [];
  const enough = new Promise((resolve) => {
    const listen = (kind, check) => {
      seen[kind] = 0;
      stream[`on${kind}`]((item) => {
        if (!check(item)) wrong.push(`${kind}: ${JSON.stringify(item)}`);
        seen[kind] += 1;
        if (Object.values(seen).every((count) => count >= ENOUGH)) resolve();
      });
    };
    for (const [channel, [kind, check, symbols]] of Object.entries(channels)) {
      listen(kind, check);
      stream[`subscribeFor${channel}`](symbols);
    }
    for (const [kind, check] of Object.entries(automatic)) listen(kind, check);
  });
  stream.onError((error) => wrong.push(error));
  stream.connect();
  if (!(await stream.waitForAuthentication(BOUND))) throw new Error(`${name} does not authenticate`);
  await within(enough, () => `not enough of ${name}: ${JSON.stringify(seen)}`);
  const empty = new Promise((resolve) => {
    stream.on("subscription", (state) => {
      if (Object.values(state).every((list) => list.length === 0)) resolve();
    });
  });
  for (const [channel, [, , symbols]] of Object.entries(channels)) stream[`unsubscribeFrom${channel}`](symbols);
  await within(empty, () => `${name} is still subscribed: ${JSON.stringify(stream.getSubscriptions())}`);
  stream.disconnect();
  if (wrong.length > 0) throw new Error(`${name}: ${wrong.slice(0, 3)}`);
  return [name, seen];
}

async function everything() {
  const judged = await Promise.all(Object.entries(STREAMS).map(([name, stream]) => judge(name, stream)));
  return Object.fromEntries(judged);
}

// Wrong credentials end it, with the code; a feed outside the plan (of the second URL) is said in so many words.
async function refused() {
  const stocks = open(alpaca.StockDataStream, `${url}/v2/iex`);
  stocks.connect();
  const failed = await stocks.waitForAuthenticationResult(BOUND);
  const sip = open(alpaca.StockDataStream, `${planUrl}/v2/sip`);
  const error = new Promise((resolve) => sip.onError(resolve));
  sip.connect();
  const why = await within(error, () => "nobody refuses it");
  sip.disconnect();
  return { failed: [failed.status, failed.code], why };
}

({ everything, refused })[what]().then(
  (result) => console.log(JSON.stringify(result)),
  (error) => {
    console.error(error.message);
    process.exitCode = 1;
  },
);
