//! What sharing costs: trunkline against what a careful author would write by hand, on this machine, now.
//!
//! `cargo bench --bench throughput`, or with `-- --quick`; `-- --help` says what else. A server process writes frames
//! that were encoded beforehand; each client runs in a process of its own. All of them take turns, round after round,
//! and the table shows the medians: what else the machine does hits every row alike.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program that prints a table, and whose threads are its own"
)]

mod by_hand;
mod meter;
mod server;
mod trunkline;
mod workload;

use std::{
    io::{BufRead as _, BufReader, IsTerminal as _, Write as _, stderr, stdout},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, UNIX_EPOCH},
};

use ::trunkline::Timestamp;
use anyhow::{Context as _, Result, ensure};
use clap::{Args, Parser, Subcommand};

use self::{
    meter::{Figures, Meter},
    trunkline::Each,
    workload::{RING, Ring},
};

/// Measures trunkline against clients written by hand: messages per second, processor time, allocations, memory and
/// latency.
#[derive(Parser)]
struct Cli {
    /// One short round: shows that everything works, and figures of no worth.
    #[arg(long)]
    quick: bool,
    /// How often each client runs; the table shows medians.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Messages of a run at full speed, in thousands.
    #[arg(long, default_value_t = 512)]
    thousands: usize,
    /// Only the rows whose name holds this text. May be repeated.
    #[arg(long)]
    only: Vec<String>,
    /// Only at this number of messages per frame, and at full speed.
    #[arg(long)]
    per_frame: Option<usize>,
    /// Only at this many messages per second, one in a frame.
    #[arg(long, conflicts_with = "per_frame")]
    rate: Option<u64>,
    /// Given by `cargo bench`; without it, by `cargo test`, the round is a quick one.
    #[arg(long, hide = true)]
    bench: bool,
    #[command(subcommand)]
    role: Option<Role>,
}

/// What a child process does.
#[derive(Subcommand)]
enum Role {
    #[command(hide = true)]
    Serve {
        #[command(flatten)]
        workload: Workload,
    },
    #[command(hide = true)]
    Receive {
        client: usize,
        port: u16,
        #[command(flatten)]
        workload: Workload,
    },
}

/// What is sent in one run.
#[derive(Args, Clone, Copy)]
struct Workload {
    #[arg(long)]
    messages: usize,
    #[arg(long)]
    per_frame: usize,
    /// Messages per second; as fast as they are taken without it.
    #[arg(long)]
    rate: Option<u64>,
}

impl Workload {
    fn ring(&self) -> Ring {
        let now = UNIX_EPOCH.elapsed().unwrap_or_default().as_micros();
        // All digits are there, so that every ring is equally long.
        let now = Timestamp::from_nanos(now as i64 * 1_000 + 789);
        Ring::new(self.per_frame, &now.to_string())
    }

    /// Room for the latencies of one consumer.
    fn latencies(&self) -> usize {
        self.rate.map_or(0, |_| self.messages)
    }
}

/// A client's name, and how it receives.
struct Client {
    name: &'static str,
    run: fn(u16, &Workload) -> Result<Figures>,
    /// Whether it has rows at a pace, too.
    paced: bool,
}

const FLOOR: usize = 2;
const CLIENTS: &[Client] = &[
    Client {
        name: "bytes off the socket",
        run: by_hand::drain,
        paced: false,
    },
    Client {
        name: "tungstenite, not decoded",
        run: by_hand::frames,
        paced: false,
    },
    Client {
        name: "tungstenite + serde_json: the floor",
        run: by_hand::alone,
        paced: true,
    },
    Client {
        name: "the floor, borrowing from the frame",
        run: by_hand::borrowed,
        paced: false,
    },
    Client {
        name: "the floor + Arc into 4 channels",
        run: |port, workload| by_hand::shared(port, workload, 4),
        paced: true,
    },
    Client {
        name: "trunkline, 1 subscriber",
        run: |port, workload| trunkline(port, workload, 1),
        paced: true,
    },
    Client {
        name: "trunkline, 4 subscribers",
        run: |port, workload| trunkline(port, workload, 4),
        paced: true,
    },
    Client {
        name: "trunkline, 16 subscribers",
        run: |port, workload| trunkline(port, workload, 16),
        paced: false,
    },
    Client {
        name: "trunkline, 16 of one symbol each",
        run: |port, workload| {
            trunkline::shared(port, workload, 16, Each::OneSymbol, Duration::ZERO)
        },
        paced: false,
    },
    Client {
        name: "trunkline, 64 of one symbol each",
        run: |port, workload| {
            trunkline::shared(port, workload, 64, Each::OneSymbol, Duration::ZERO)
        },
        paced: false,
    },
    Client {
        name: "trunkline, 4, linger 200 µs",
        run: |port, workload| {
            let linger = Duration::from_micros(200);
            trunkline::shared(port, workload, 4, Each::Everything, linger)
        },
        paced: true,
    },
];

fn trunkline(port: u16, workload: &Workload, subscribers: usize) -> Result<Figures> {
    trunkline::shared(
        port,
        workload,
        subscribers,
        Each::Everything,
        Duration::ZERO,
    )
}

/// Tells the parent that the first message may come.
fn ready() -> Meter {
    println!("ready");
    Meter::start()
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    match &cli.role {
        Some(Role::Serve { workload }) => server::run(workload),
        Some(Role::Receive {
            client,
            port,
            workload,
        }) => {
            let figures = (CLIENTS[*client].run)(*port, workload)?;
            println!("{}", figures.to_line());
            Ok(())
        }
        None => compare(&cli),
    }
}

fn compare(cli: &Cli) -> Result<()> {
    let quick = cli.quick || !cli.bench;
    let rounds = if quick { 1 } else { cli.rounds.max(1) };
    let plan = plan(cli, quick);
    let mut runs = vec![Vec::new(); plan.len()];
    let in_place = stderr().is_terminal();
    for round in 1..=rounds {
        for (at, (client, workload)) in plan.iter().enumerate() {
            let name = CLIENTS[*client].name;
            if in_place {
                let (run, runs) = (at + 1, plan.len());
                eprint!("\rround {round} of {rounds}, run {run} of {runs}: {name:<40}");
            } else if at == 0 {
                eprintln!("round {round} of {rounds}");
            }
            let figures = measure(*client, workload).with_context(|| format!("{name} failed"))?;
            runs[at].push(figures);
        }
    }
    if in_place {
        eprintln!("\r{:<80}", "");
    }
    let medians: Vec<_> = runs.iter().map(|runs| Figures::median(runs)).collect();
    print_table(&plan, &medians, rounds);
    Ok(())
}

/// The runs of a round, in order: each client at each workload.
fn plan(cli: &Cli, quick: bool) -> Vec<(usize, Workload)> {
    let full_speed = [1, 10, 50].map(|per_frame| Workload {
        messages: if quick {
            RING
        } else {
            cli.thousands * 1_000 / RING * RING
        },
        per_frame,
        rate: None,
    });
    let paced = [10_000, 50_000, 200_000].map(|rate| Workload {
        messages: rate as usize / if quick { 10 } else { 1 },
        per_frame: 1,
        rate: Some(rate),
    });
    let mut plan = Vec::new();
    for workload in full_speed.into_iter().chain(paced) {
        let left_out = cli
            .per_frame
            .is_some_and(|wanted| workload.rate.is_some() || wanted != workload.per_frame)
            || cli.rate.is_some_and(|wanted| workload.rate != Some(wanted));
        if left_out {
            continue;
        }
        for (number, client) in CLIENTS.iter().enumerate() {
            let named =
                cli.only.is_empty() || cli.only.iter().any(|part| client.name.contains(part));
            if named && (workload.rate.is_none() || client.paced) {
                plan.push((number, workload));
            }
        }
    }
    plan
}

/// Runs one client against a server of its own.
fn measure(client: usize, workload: &Workload) -> Result<Figures> {
    let mut server = spawn(&["serve".to_owned()], workload)?;
    let mut from_server = lines(&mut server)?;
    let port = next_line(&mut from_server)?;
    let mut receiver = spawn(&["receive".to_owned(), client.to_string(), port], workload)?;
    let mut from_receiver = lines(&mut receiver)?;
    ensure!(
        next_line(&mut from_receiver)? == "ready",
        "the client did not get ready"
    );
    writeln!(
        server.stdin.take().context("the server has an input")?,
        "go"
    )?;
    let figures = Figures::from_line(&next_line(&mut from_receiver)?);
    ensure!(receiver.wait()?.success(), "the client failed");
    ensure!(server.wait()?.success(), "the server failed");
    figures.context("the client said something else than its figures")
}

fn spawn(role: &[String], workload: &Workload) -> Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(role);
    command.args(["--messages", &workload.messages.to_string()]);
    command.args(["--per-frame", &workload.per_frame.to_string()]);
    if let Some(rate) = workload.rate {
        command.args(["--rate", &rate.to_string()]);
    }
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    child.context("a child process does not start")
}

fn lines(child: &mut Child) -> Result<BufReader<ChildStdout>> {
    Ok(BufReader::new(
        child.stdout.take().context("a child has an output")?,
    ))
}

fn next_line(output: &mut BufReader<ChildStdout>) -> Result<String> {
    let mut line = String::new();
    output.read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

fn print_table(plan: &[(usize, Workload)], medians: &[Figures], rounds: usize) {
    println!("medians of {rounds} rounds; `x` is the ratio to the floor of the same workload\n");
    println!(
        "| client | per frame | messages/s | x | CPU ns | x | allocations | MiB | p50 µs | p99 µs |"
    );
    println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    for ((client, workload), figures) in plan.iter().zip(medians) {
        let floor = plan
            .iter()
            .zip(medians)
            .find_map(|((client, other), figures)| {
                let same = other.per_frame == workload.per_frame && other.rate == workload.rate;
                (*client == FLOOR && same).then_some(figures)
            });
        let ratio = |figure: fn(&Figures) -> f64| {
            floor.map_or_else(String::new, |floor| {
                format!("{:.2}", figure(figures) / figure(floor))
            })
        };
        let latency = |micros: f64| match workload.rate {
            None => String::new(),
            Some(_) => format!("{micros:.0}"),
        };
        let pace = match workload.rate {
            None => workload.per_frame.to_string(),
            Some(rate) => format!("{} at {} k/s", workload.per_frame, rate / 1_000),
        };
        println!(
            "| {} | {pace} | {:.0} k | {} | {:.0} | {} | {:.3} | {:.1} | {} | {} |",
            CLIENTS[*client].name,
            figures.rate / 1e3,
            ratio(|figures| figures.rate),
            figures.cpu,
            ratio(|figures| figures.cpu),
            figures.allocations,
            figures.memory,
            latency(figures.p50),
            latency(figures.p99),
        );
    }
    let _ = stdout().flush();
}
