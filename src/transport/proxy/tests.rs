use super::*;

/// A proxy that answers each of what it is sent with the next of its answers, in pieces of so many bytes.
pub(super) struct Script {
    answers: std::vec::IntoIter<Vec<u8>>,
    pub(super) heard: Vec<Vec<u8>>,
    pending: std::collections::VecDeque<u8>,
    piece: usize,
    /// Every second call finds nothing to do, as with a socket that is not ready.
    is_ready: bool,
    ends: bool,
}

impl Script {
    pub(super) fn new(piece: usize, answers: &[&[u8]]) -> Self {
        let answers: Vec<_> = answers.iter().map(|answer| answer.to_vec()).collect();
        Self {
            answers: answers.into_iter(),
            heard: vec![Vec::new()],
            pending: Default::default(),
            piece,
            is_ready: false,
            ends: false,
        }
    }

    /// After its answers comes the end of the stream.
    pub(super) fn ending(mut self) -> Self {
        self.ends = true;
        self
    }

    fn turn(&mut self) -> io::Result<()> {
        self.is_ready = !self.is_ready;
        if self.is_ready {
            Ok(())
        } else {
            Err(io::ErrorKind::WouldBlock.into())
        }
    }

    /// Runs a handshake to its end, and gives what it came to.
    pub(super) fn run(&mut self, server: &str, venue: &str) -> Result<bool, ProxyFault> {
        let server = server.parse().unwrap();
        let mut tunnel = Tunnel::new(&server, &venue.parse().unwrap());
        for _ in 0..100_000 {
            match tunnel.progress(&mut *self) {
                Ok(true) => return Ok(true),
                Ok(false) if self.is_exhausted() => return Ok(false),
                Ok(false) => {}
                Err(refusal) => return Err(refusal.fault),
            }
        }
        panic!("it never comes to anything");
    }

    fn is_exhausted(&self) -> bool {
        !self.ends && self.pending.is_empty() && self.answers.len() == 0 && !self.is_ready
    }
}

/// What a handshake comes to, however the answers are cut into pieces.
pub(super) fn outcome(
    pieces: [usize; 4],
    server: &str,
    venue: &str,
    answers: &[&[u8]],
) -> Result<bool, ProxyFault> {
    let run = |piece| Script::new(piece, answers).run(server, venue);
    let mut outcomes: Vec<_> = pieces.map(run).into();
    outcomes.dedup();
    assert_eq!(
        outcomes.len(),
        1,
        "the pieces make a difference: {outcomes:?}"
    );
    outcomes.remove(0)
}

impl Read for Script {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        assert!(!buffer.is_empty(), "no room, which would look like an end");
        self.turn()?;
        if self.pending.is_empty() && self.heard.last().is_some_and(|heard| !heard.is_empty()) {
            self.pending.extend(self.answers.next().unwrap_or_default());
            self.heard.push(Vec::new());
        }
        let read = self.piece.min(buffer.len()).min(self.pending.len());
        if read == 0 && !self.ends {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (to, from) in buffer.iter_mut().zip(self.pending.drain(..read)) {
            *to = from;
        }
        Ok(read)
    }
}

impl Write for Script {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.turn()?;
        let written = self.piece.min(bytes.len());
        self.heard.last_mut().unwrap().extend(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
