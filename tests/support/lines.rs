//! Where a logger of somebody else's writes to, and what has to stand there.

use std::{
    io::{self, Write},
    sync::Arc,
};

use parking_lot::Mutex;
use trunkline::{Manager, alpaca};

use super::{WAIT, credentials, eventually, quick, sim};

/// Text that was written, shared by its clones.
#[derive(Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn all(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().clone()).expect("loggers write UTF-8");
        text.lines().map(ToOwned::to_owned).collect()
    }
}

/// Opens, is refused, and closes; looks at what was written, where each line says `before` in front of the message.
pub(crate) fn assert_a_short_life_is_told(lines: &Lines, before: &str) {
    let sim = sim(|config| config.symbol_limit = Some(0));
    let manager = Manager::with_config(quick()).expect("it is well formed");
    let credentials = credentials("recipe");
    let feed = manager
        .correlated("bot")
        .open(&sim.stocks(), &credentials)
        .expect("the simulator listens");
    let key = feed.key().clone();
    feed.wait_live(WAIT).expect("it becomes live");
    let order = feed.correlated("order-7");
    let trades = order
        .subscribe(alpaca::trades(["AAPL"]))
        .expect("it is valid");
    trades
        .wait_confirmed(WAIT)
        .expect_err("no symbol is allowed");
    drop((trades, order));
    feed.close(WAIT).expect("nothing stands in the way");
    eventually("the end was told", || {
        lines
            .all()
            .iter()
            .any(|line| line.contains(": ended: closed"))
    });
    let all = lines.all();
    let warning = before.replace("INFO", "WARN");
    for (before, message) in [
        (before, format!("{key} (correlation bot): opening alpaca")),
        (before, format!("{key}: connection 1 is live")),
        (
            &warning,
            format!(
                "{key} (correlation order-7): refused trades:AAPL: request refused: symbol limit exceeded (405)"
            ),
        ),
        (before, format!("{key} (correlation bot): asked to end")),
        (before, format!("{key}: ended: closed")),
    ] {
        let told = all
            .iter()
            .filter(|line| line.contains(&format!("{before}{message}")));
        assert_eq!(told.count(), 1, "{before}{message}: {all:#?}");
    }
    assert_eq!(all.len(), 5, "{all:#?}");
}
