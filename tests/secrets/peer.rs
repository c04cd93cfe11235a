//! The server's side of a connection, on a bare socket: whatever a test wants it to say, byte by byte.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    sync::Arc,
};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tungstenite::handshake::derive_accept_key;

use crate::support::{WAIT, eventually};

pub(crate) const WELCOME: &str = r#"[{"T":"success","msg":"connected"}]"#;
pub(crate) const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;

/// Where clients come from.
pub(crate) struct Listener {
    socket: TcpListener,
    tls: Option<Arc<ServerConfig>>,
}

impl Listener {
    pub(crate) fn new(socket: TcpListener, identity: Option<&Identity>) -> Self {
        Self {
            socket,
            tls: identity.map(|identity| Arc::clone(&identity.server)),
        }
    }

    fn accept(&self) -> TcpStream {
        self.socket.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("a client comes", || match self.socket.accept() {
            Ok((socket, _)) => {
                accepted = Some(socket);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        });
        let socket = accepted.unwrap();
        socket.set_nonblocking(false).unwrap();
        socket
    }

    /// Waits for a [`knock`](crate::child::Server::knock).
    pub(crate) fn wait_for_a_knock(&self) {
        drop(self.accept());
    }
}

/// A server's certificate, and whom to trust for it.
pub(crate) struct Identity {
    pub(crate) root: String,
    server: Arc<ServerConfig>,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
        Self {
            root: authority.pem(),
            server: Arc::new(server),
        }
    }
}

trait Stream: Read + Write + Send {}
impl<S: Read + Write + Send> Stream for S {}

/// The server's end of one connection.
pub(crate) struct Peer {
    pub(crate) socket: TcpStream,
    /// The socket again, or TLS over it.
    stream: Box<dyn Stream>,
    pub(crate) head: String,
    trades: BTreeSet<String>,
}

pub(crate) struct Message {
    pub(crate) opcode: u8,
    pub(crate) masked: bool,
    pub(crate) payload: Vec<u8>,
}

impl Peer {
    /// The next client, and the head of its request.
    pub(crate) fn accept(listener: &Listener) -> Self {
        let mut peer = Self::next(listener);
        peer.read_head();
        peer
    }

    /// The next client.
    pub(crate) fn next(listener: &Listener) -> Self {
        let socket = listener.accept();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let clone = socket.try_clone().unwrap();
        let stream: Box<dyn Stream> = match &listener.tls {
            None => Box::new(clone),
            Some(tls) => {
                let tls = ServerConnection::new(Arc::clone(tls)).unwrap();
                Box::new(StreamOwned::new(tls, clone))
            }
        };
        Self {
            socket,
            stream,
            head: String::new(),
            trades: BTreeSet::new(),
        }
    }

    /// Reads so many bytes.
    pub(crate) fn take(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads the head of the next request.
    pub(crate) fn read_head(&mut self) {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.extend(self.take(1));
        }
        self.head = String::from_utf8(head).unwrap();
    }

    /// The next client, upgraded.
    pub(crate) fn open(listener: &Listener) -> Self {
        let mut peer = Self::next(listener);
        peer.upgrade();
        peer
    }

    /// Answers the request for a WebSocket.
    pub(crate) fn upgrade(&mut self) {
        self.read_head();
        let key = self
            .head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then(|| value.trim().to_owned())
            })
            .expect("it asks for a WebSocket");
        self.http(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        ));
    }

    /// The next client, which authenticates.
    pub(crate) fn live(listener: &Listener) -> (Self, String) {
        let mut peer = Self::open(listener);
        let auth = peer.log_in();
        (peer, auth)
    }

    /// Welcomes and believes the client. Gives what it authenticates with.
    pub(crate) fn log_in(&mut self) -> String {
        self.text(WELCOME);
        let auth = self.read();
        assert!(auth.masked && auth.opcode == 1);
        self.text(AUTHENTICATED);
        String::from_utf8(auth.payload).unwrap()
    }

    /// The next client, which authenticates for order updates and listens.
    pub(crate) fn listening(listener: &Listener) -> Self {
        let mut peer = Self::open(listener);
        assert!(peer.read().masked);
        peer.text(
            r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#,
        );
        peer.read();
        peer.text(r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#);
        peer
    }

    pub(crate) fn http(&mut self, response: &str) {
        self.stream.write_all(response.as_bytes()).unwrap();
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes(), usize::MAX);
    }

    /// One frame, in segments of `piece` bytes; each was read by the client before the next is sent.
    pub(crate) fn frame(&mut self, first: u8, payload: &[u8], piece: usize) {
        let frame = server_frame(first, payload);
        for piece in frame.chunks(piece.min(frame.len())) {
            self.stream.write_all(piece).unwrap();
            if piece.len() < frame.len() {
                self.wait_read();
            }
        }
    }

    /// Waits until the client's kernel holds nothing that its process has not read.
    pub(crate) fn wait_read(&self) {
        #[cfg(target_os = "linux")]
        {
            let client = format!(":{:04X}", self.socket.peer_addr().unwrap().port());
            let server = format!(":{:04X}", self.socket.local_addr().unwrap().port());
            eventually("the client reads", || {
                let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
                let ends = |text: &str, end: &str| text.ends_with(end);
                table.lines().all(|line| {
                    let fields: Vec<_> = line.split_whitespace().collect();
                    match fields.as_slice() {
                        [_, local, remote, _, queues, ..]
                            if ends(local, &client) && ends(remote, &server) =>
                        {
                            ends(queues, ":00000000")
                        }
                        [_, local, remote, _, queues, ..]
                            if ends(local, &server) && ends(remote, &client) =>
                        {
                            queues.starts_with("00000000:")
                        }
                        _ => true,
                    }
                })
            });
        }
        #[cfg(not(target_os = "linux"))]
        thread::yield_now();
    }

    /// The next frame, read byte by byte.
    pub(crate) fn read(&mut self) -> Message {
        self.try_read().expect("the client sends a frame")
    }

    pub(crate) fn try_read(&mut self) -> std::io::Result<Message> {
        let mut take = |len: usize| -> std::io::Result<Vec<u8>> {
            let mut bytes = vec![0; len];
            for byte in bytes.chunks_mut(1) {
                self.stream.read_exact(byte)?;
            }
            Ok(bytes)
        };
        let head = take(2)?;
        assert_eq!(head[0] & 0xf0, 0x80, "whole messages without extensions");
        let len = match head[1] & 0x7f {
            126 => take(2)?
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
            127 => take(8)?
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
            len => usize::from(len),
        };
        let masked = head[1] & 0x80 != 0;
        let mask = take(if masked { 4 } else { 0 })?;
        let mut payload = take(len)?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Message {
            opcode: head[0] & 0x0f,
            masked,
            payload,
        })
    }

    /// Asks for a pong, answers subscriptions until it comes, and says how many there were.
    pub(crate) fn ping(&mut self) -> usize {
        self.frame(0x89, b"still there?", usize::MAX);
        let mut answered = 0;
        loop {
            let message = self.read();
            match message.opcode {
                0xa if message.payload == b"still there?" => return answered,
                0xa => assert!(message.masked),
                1 => {
                    self.answer(&message);
                    answered += 1;
                }
                other => panic!("unexpected opcode {other}"),
            }
        }
    }

    /// The symbols of a request for trades, which is not answered.
    pub(crate) fn request(&mut self) -> Vec<String> {
        let message = self.read();
        symbols(&message)
    }

    /// Answers a request with the whole state.
    pub(crate) fn answer(&mut self, message: &Message) {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        for symbol in symbols(message) {
            if text.contains(r#""action":"subscribe""#) {
                self.trades.insert(symbol);
            } else {
                self.trades.remove(&symbol);
            }
        }
        let trades = serde_json::to_string(&self.trades).unwrap();
        self.text(&format!(
            r#"[{{"T":"subscription","trades":{trades},"quotes":[],"bars":[]}}]"#
        ));
    }

    /// Answers requests until `symbol` is asked for.
    pub(crate) fn serve_until(&mut self, symbol: &str) {
        while !self.trades.contains(symbol) {
            let message = self.read();
            if message.opcode == 1 {
                self.answer(&message);
            }
        }
    }

    pub(crate) fn trade(&mut self, id: u32) {
        self.text(&format!(
            r#"[{{"T":"t","S":"AAPL","i":{id},"x":"V","p":150.25,"s":10,"c":["@"],"z":"C","t":"2026-03-17T14:30:05Z"}}]"#
        ));
    }

    /// Answers what comes until the client ends the connection.
    pub(crate) fn serve_to_the_end(&mut self) {
        while let Ok(message) = self.try_read() {
            match message.opcode {
                1 => self.answer(&message),
                8 => {
                    let _ = self.stream.write_all(&server_frame(0x88, &message.payload));
                }
                _ => {}
            }
        }
    }
}

/// A frame without a mask.
pub(crate) fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        len @ 0..126 => frame.push(u8::try_from(len).unwrap()),
        len => {
            frame.push(126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

pub(crate) fn symbols(message: &Message) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    let trades = request["trades"].as_array().cloned().unwrap_or_default();
    trades
        .iter()
        .map(|symbol| symbol.as_str().unwrap().to_owned())
        .collect()
}
