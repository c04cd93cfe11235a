//! A venue written with nothing but the public trait. Its protocol is to send every message back.
//!
//! It speaks the client's side of the Autobahn fuzzing server, which judges the WebSocket behavior of the whole stack:
//! `cargo run --release --example echo_venue -- ws://127.0.0.1:9001 trunkline`

use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Parser;
use trunkline::{
    Channel, Config, Credentials, Declared, Endpoint, Manager, Notice, Phase, Symbol, Topic,
    Topics, Update, select,
    venue::{Context, Frame, Message, Payload, Request, Routed, Rules, Session, Venue, Verdict},
};

/// Echoes every message, for each case of an Autobahn fuzzing server.
#[derive(Parser)]
struct Arguments {
    /// The server, such as ws://127.0.0.1:9001
    base_url: Endpoint,
    /// What the report calls this client.
    agent: String,
    /// Offer the server to compress.
    #[arg(long)]
    compress: bool,
}

/// One URL of the server. A URL is a stream, so each case is a stream of its own.
#[derive(Clone)]
struct Echo(Endpoint);

/// One connection: live as soon as it is open, and done when the server closes it.
struct EchoSession;

/// A text that arrived. Only the number of cases is of interest to anybody.
#[derive(Clone)]
struct Text(String);

const TEXTS: Channel = Channel::new("texts");

impl Venue for Echo {
    type Event = Text;
    type Session = EchoSession;

    fn endpoint(&self) -> &Endpoint {
        &self.0
    }

    fn rules(&self) -> Rules {
        Rules::new().message_size(64 << 20).compresses(true)
    }

    fn session(&self, _credentials: Credentials) -> EchoSession {
        EchoSession
    }
}

impl Session for EchoSession {
    type Event = Text;

    fn handle_open(&mut self, cx: &mut Context<'_, Text>) {
        cx.up();
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, Text>) {
        match frame {
            Frame::Text(text) => {
                cx.event(Text(text.to_owned()));
                cx.send(Message::Text(text.to_owned()));
            }
            Frame::Binary(bytes) => cx.send(Message::Binary(bytes.to_vec())),
        }
    }

    fn handle_close(&mut self, _code: Option<u16>, cx: &mut Context<'_, Text>) {
        cx.down(Verdict::Done);
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, Text>) {
        // The server sends what it sends: there is nothing to ask for.
        cx.confirmed(request.id);
    }
}

impl Routed for Text {
    fn channel(&self) -> Channel {
        TEXTS
    }

    fn symbols(&self) -> &[Symbol] {
        &[]
    }
}

impl Payload for Text {
    type Source = Self;
    fn project(text: &Self) -> Option<impl FnOnce() -> Self> {
        Some(|| text.clone())
    }
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let agent = &arguments.agent;
    let mut config = Config::default();
    // A case is one connection: one that fails is not tried again within the life of this program.
    config.backoff.initial = Duration::from_secs(86_400);
    config.backoff.cap = config.backoff.initial;
    config.compression = arguments.compress;
    let manager = Manager::with_config(config)?;

    // The server says it once and closes: on a busy machine that may be over before this program has subscribed.
    let url = arguments.base_url.join("getCaseCount")?;
    let count: usize = (0..10)
        .find_map(|_| run(&manager, &url).transpose())
        .context("the server did not say how many cases there are")??
        .parse()?;
    eprintln!("{count} cases");
    for case in 1..=count {
        let path = format!("runCase?case={case}&agent={agent}");
        run(&manager, &arguments.base_url.join(&path)?)?;
        eprint!("\r{case} of {count}");
    }
    run(
        &manager,
        &arguments
            .base_url
            .join(&format!("updateReports?agent={agent}"))?,
    )?;
    eprintln!("\nthe server has written its report");
    Ok(())
}

/// Runs one URL to the end of its connection. Returns the last text.
fn run(manager: &Manager, url: &Endpoint) -> anyhow::Result<Option<String>> {
    let line = manager.open(&Echo(url.clone()), &Credentials::none())?;
    let texts = line.subscribe(Topics::<Text>::new([Topic::new(TEXTS, "*")]))?;
    let phases = line.phases();
    let mut last = None;
    loop {
        // A stream that was never live tells its subscribers nothing, but says so in its phase.
        let health = line.health();
        if health.phase == Phase::Waiting && health.epoch == 0 {
            bail!("cannot connect: {health}");
        }
        select! {
            recv(phases.receiver()) -> _ => {}
            recv(texts.ready()) -> _ => for update in texts.drain() {
                match update {
                    Update::Event(text) => last = Some(text.data.0),
                    // The case was to see how a broken peer is dropped.
                    Update::Gap(_) => return Ok(last),
                    // It was dropped before this subscription was known to its line.
                    Update::Notice(Declared { what: Notice::NotLive { .. }, .. }) if line.health().epoch > 0 => {
                        return Ok(last);
                    }
                    Update::Ended(end) => {
                        end.into_result()?;
                        return Ok(last);
                    }
                    Update::Dropped(_) | Update::Notice(_) => {}
                }
            },
            default(PATIENCE) => bail!("nothing came: {health}"),
        }
    }
}

/// The longest case sends for about a minute.
const PATIENCE: Duration = Duration::from_secs(90);
