//! The firehose: one connection, the venue's login and subscriptions, and then frames as fast as the client takes them,
//! or at a pace. It runs in a process of its own, so that its work is not counted as the client's.

use std::{
    io::{BufRead as _, Write as _, stdin},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::{Workload, meter, workload::RING};

/// Prints its port, serves one connection, and ends with it.
pub fn run(workload: &Workload) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    println!("{}", listener.local_addr()?.port());
    let (stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    let mut firehose = stream.try_clone()?;
    let mut socket = tungstenite::accept(stream).context("the upgrade failed")?;
    socket.send(Message::text(r#"[{"T":"success","msg":"connected"}]"#))?;
    socket.read()?;
    socket.send(Message::text(r#"[{"T":"success","msg":"authenticated"}]"#))?;
    let workload = *workload;
    // The requests come while the firehose waits for its word on the standard input; afterwards only the close frame
    // does, which is answered when the last frame is out.
    let requests = thread::spawn(move || answer(&mut socket));
    let mut go = String::new();
    stdin().lock().read_line(&mut go)?;
    match workload.rate {
        None => flood(&mut firehose, &workload),
        Some(rate) => pace(&mut firehose, &workload, rate),
    }?;
    let _ = requests.join();
    Ok(())
}

/// Confirms whatever is asked for, until the client closes.
fn answer(socket: &mut WebSocket<TcpStream>) {
    let mut state: Vec<(String, Vec<Value>)> = Vec::new();
    while let Ok(message) = socket.read() {
        let Ok(request) = serde_json::from_slice::<Value>(&message.into_data()) else {
            continue;
        };
        if request["action"] != "subscribe" {
            continue;
        }
        for channel in ["trades", "quotes"] {
            let Some(symbols) = request[channel].as_array() else {
                continue;
            };
            match state.iter_mut().find(|(name, _)| name == channel) {
                Some((_, all)) => all.extend(symbols.iter().cloned()),
                None => state.push((channel.to_owned(), symbols.clone())),
            }
        }
        let mut reply = json!({"T": "subscription"});
        for (channel, symbols) in &state {
            reply[channel] = json!(symbols);
        }
        if socket
            .send(Message::text(json!([reply]).to_string()))
            .is_err()
        {
            return;
        }
    }
}

fn flood(socket: &mut TcpStream, workload: &Workload) -> Result<()> {
    const PIECE: usize = 64 << 10;
    let ring = workload.ring();
    for _ in 0..workload.messages / RING {
        for piece in ring.bytes().chunks(PIECE) {
            socket.write_all(piece)?;
        }
    }
    Ok(())
}

/// Sends each frame when it is due, stamped. What became due during one sleep leaves in one write.
fn pace(socket: &mut TcpStream, workload: &Workload, rate: u64) -> Result<()> {
    let mut ring = workload.ring();
    let frames = (workload.messages / workload.per_frame) as u64;
    let step = 1_000_000_000 * workload.per_frame as u64 / rate;
    let start = meter::now();
    let mut sent = 0;
    let mut due = Vec::new();
    while sent < frames {
        let now = meter::now();
        let target = ((now - start) / step + 1).min(frames);
        if target == sent {
            thread::park_timeout(Duration::from_nanos(start + sent * step - now));
            continue;
        }
        due.clear();
        while sent < target {
            let frame = sent as usize % ring.frames();
            due.extend_from_slice(ring.stamped(frame, now));
            sent += 1;
        }
        socket.write_all(&due)?;
    }
    Ok(())
}
