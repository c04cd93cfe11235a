//! The set-up of a connection: one state for each phase, from a host's name to an open WebSocket.

use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Registry, net::TcpStream};
use tungstenite::{
    Error as WsError, HandshakeError, WebSocket,
    client::IntoClientRequest as _,
    handshake::{MidHandshake, client::ClientHandshake},
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

use super::{SOCKET, State, WebSocketTransport, faults};
#[cfg(feature = "compression")]
use crate::transport::inflate;
use crate::{
    clock,
    error::{ProxyFault, Source},
    phase::Phase,
    transport::{
        Fault, Target, addresses::Candidates, connecting::Connecting, proxy::Tunnel,
        resolve::Lookup, wire::Wire,
    },
};

pub(super) enum SetUp {
    Resolving {
        lookup: Lookup,
        /// When the addresses of an earlier answer are used in place of one that does not come.
        give_up: Option<Instant>,
        target: Target,
    },
    Connecting {
        connecting: Connecting,
        target: Target,
    },
    Tunneling {
        tunnel: Tunnel,
        /// As it is shown.
        proxy: String,
        socket: Arc<TcpStream>,
        target: Target,
    },
    #[cfg(feature = "tls")]
    Securing { wire: Box<Wire>, target: Target },
    Upgrading {
        middle: Box<MidHandshake<ClientHandshake<Wire>>>,
        proxy: Option<String>,
    },
}

/// What a turn of the set-up came to.
enum Step {
    /// There is nothing more to do now.
    Waits(SetUp),
    /// The next phase has begun.
    Next(SetUp),
    Open(Box<WebSocket<Wire>>),
}

impl SetUp {
    fn phase(&self) -> Phase {
        match self {
            Self::Resolving { .. } => Phase::Resolving,
            Self::Connecting { .. } => Phase::Connecting,
            Self::Tunneling { .. } => Phase::Tunneling,
            #[cfg(feature = "tls")]
            Self::Securing { .. } => Phase::Securing,
            Self::Upgrading { .. } => Phase::Upgrading,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Resolving { give_up, .. } => *give_up,
            Self::Connecting { connecting, .. } => connecting.deadline(),
            #[cfg(feature = "tls")]
            Self::Securing { .. } => None,
            Self::Tunneling { .. } | Self::Upgrading { .. } => None,
        }
    }

    /// Ends the connections of which none was chosen yet.
    pub(super) fn end(&mut self, registry: &Registry) {
        if let Self::Connecting { connecting, .. } = self {
            connecting.close(registry);
        }
    }

    /// The byte stream of the connection, once there is one.
    pub(super) fn wire(&mut self) -> Option<&mut Wire> {
        match self {
            Self::Resolving { .. } | Self::Connecting { .. } | Self::Tunneling { .. } => None,
            #[cfg(feature = "tls")]
            Self::Securing { wire, .. } => Some(wire),
            Self::Upgrading { middle, .. } => Some(middle.get_mut().get_mut()),
        }
    }
}

impl WebSocketTransport {
    /// Begins with the host's name.
    pub(super) fn begin(&mut self, target: Target) {
        // The venue's name is the proxy's to look up.
        let (host, port) = match &target.proxy {
            Some(proxy) => (proxy.host(), proxy.port()),
            None => (target.endpoint.host(), target.endpoint.port()),
        };
        let lookup = Lookup::start(&self.resolver, host, port, &self.waker());
        let now = clock::now();
        let left = target.deadline.saturating_duration_since(now);
        let has_others = self.known.fallback().is_some();
        self.enter(SetUp::Resolving {
            lookup,
            give_up: has_others.then(|| clock::after(now, (left / 4).min(RESOLVER_PATIENCE))),
            target,
        });
        self.more = true;
    }

    /// Goes on for as long as there is something to do. Says whether the WebSocket is open.
    pub(super) fn go_on(&mut self, mut set_up: SetUp, now: Instant) -> Result<bool, Fault> {
        loop {
            let step = match set_up {
                SetUp::Resolving {
                    lookup,
                    give_up,
                    target,
                } => self.resolve(lookup, give_up, target, now)?,
                SetUp::Connecting { connecting, target } => {
                    self.connect_tcp(connecting, target, now)?
                }
                SetUp::Tunneling {
                    tunnel,
                    proxy,
                    socket,
                    target,
                } => self.tunnel(tunnel, proxy, socket, target)?,
                #[cfg(feature = "tls")]
                SetUp::Securing { wire, target } => self.secure(wire, target)?,
                SetUp::Upgrading { middle, proxy } => self.upgrade(*middle, proxy)?,
            };
            match step {
                Step::Waits(set_up) => {
                    self.enter(set_up);
                    return Ok(false);
                }
                Step::Next(next) => {
                    self.phase = next.phase();
                    set_up = next;
                }
                Step::Open(websocket) => {
                    self.known.opened();
                    self.state = State::Open(websocket);
                    return Ok(true);
                }
            }
        }
    }

    fn enter(&mut self, set_up: SetUp) {
        self.phase = set_up.phase();
        self.state = State::SettingUp(Box::new(set_up));
    }

    fn resolve(
        &mut self,
        lookup: Lookup,
        give_up: Option<Instant>,
        target: Target,
        now: Instant,
    ) -> Result<Step, Fault> {
        let answer = if self.has_roots(&target) {
            lookup.take()
        } else {
            None
        };
        let addresses = match answer {
            Some(Ok(addresses)) => {
                self.known.answered(&addresses);
                addresses
            }
            Some(Err(source)) => match self.known.fallback() {
                Some(addresses) => {
                    self.remark = Some(format!("{source}; {OLD_ADDRESSES}"));
                    addresses
                }
                None => {
                    return Err(match &target.proxy {
                        Some(proxy) => {
                            at_proxy(proxy.to_string(), ProxyFault::Unresolved, Some(source))
                        }
                        None => Fault::Resolve(source),
                    });
                }
            },
            None => match self.known.fallback() {
                Some(addresses) if give_up.is_some_and(|at| at <= now) => {
                    self.remark = Some(format!("the resolver does not answer; {OLD_ADDRESSES}"));
                    addresses
                }
                _ => {
                    self.more = false;
                    return Ok(Step::Waits(SetUp::Resolving {
                        lookup,
                        give_up,
                        target,
                    }));
                }
            },
        };
        let candidates = Candidates::new(&addresses, &self.known, now, target.deadline);
        Ok(Step::Next(SetUp::Connecting {
            connecting: Connecting::new(candidates),
            target,
        }))
    }

    fn connect_tcp(
        &mut self,
        mut connecting: Connecting,
        target: Target,
        now: Instant,
    ) -> Result<Step, Fault> {
        match connecting.progress(now, self.poll.registry(), SOCKET) {
            Ok(None) => {
                self.more = false;
                Ok(Step::Waits(SetUp::Connecting { connecting, target }))
            }
            Ok(Some((address, socket))) => {
                self.known.connected(address);
                let socket = Arc::new(socket);
                self.socket = Some(Arc::clone(&socket));
                match &target.proxy {
                    Some(proxy) => Ok(Step::Next(SetUp::Tunneling {
                        tunnel: Tunnel::new(proxy, &target.endpoint),
                        proxy: proxy.to_string(),
                        socket,
                        target,
                    })),
                    None => self.connected(socket, target),
                }
            }
            Err(failures) => Err(match &target.proxy {
                Some(proxy) => at_proxy(proxy.to_string(), ProxyFault::Unreachable, Some(failures)),
                None => Fault::Connect(failures),
            }),
        }
    }

    fn tunnel(
        &mut self,
        mut tunnel: Tunnel,
        proxy: String,
        socket: Arc<TcpStream>,
        target: Target,
    ) -> Result<Step, Fault> {
        match tunnel.progress(&*socket) {
            Ok(true) => self.connected(socket, target),
            Ok(false) => {
                self.more = false;
                Ok(Step::Waits(SetUp::Tunneling {
                    tunnel,
                    proxy,
                    socket,
                    target,
                }))
            }
            Err(refusal) => {
                self.state = State::HalfClosed;
                Err(at_proxy(proxy, refusal.fault, refusal.source))
            }
        }
    }

    /// The byte stream to the venue is there.
    fn connected(&mut self, socket: Arc<TcpStream>, target: Target) -> Result<Step, Fault> {
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only TLS changes it")
        )]
        let mut wire = Wire::new(socket, &target.secrets);
        if !target.endpoint.is_secure() {
            return self.ask_for_upgrade(wire, &target);
        }
        #[cfg(feature = "tls")]
        {
            let fault = |why| Fault::Tls {
                why,
                certificate: true,
            };
            let config = self.tls.get().map_err(|error| fault(error.to_string()))?;
            let config = config.ok_or_else(|| fault(super::UNREAD_ROOTS.to_owned()))?;
            let tls = crate::transport::tls::connection(config, target.endpoint.server_name())
                .map_err(fault)?;
            wire.secure(tls);
            Ok(Step::Next(SetUp::Securing {
                wire: Box::new(wire),
                target,
            }))
        }
        #[cfg(not(feature = "tls"))]
        Err(Fault::Tls {
            why: "built without the feature `tls`".to_owned(),
            certificate: true,
        })
    }

    #[cfg(feature = "tls")]
    fn secure(&mut self, mut wire: Box<Wire>, target: Target) -> Result<Step, Fault> {
        match wire.handshake() {
            Ok(true) => self.ask_for_upgrade(*wire, &target),
            Ok(false) => {
                self.more = wire.is_spent();
                Ok(Step::Waits(SetUp::Securing { wire, target }))
            }
            Err(error) => {
                self.state = State::HalfClosed;
                let issuer = self.tls.take_issuer();
                let fault = crate::transport::tls::fault(error, wire.speaks_tls(), issuer);
                let proxy = target.proxy.map(|proxy| proxy.to_string());
                Err(behind_proxy(fault, proxy.as_deref()))
            }
        }
    }

    fn ask_for_upgrade(
        &self,
        #[cfg_attr(
            not(feature = "compression"),
            expect(unused_mut, reason = "only compression changes it")
        )]
        mut wire: Wire,
        target: &Target,
    ) -> Result<Step, Fault> {
        let protocol = |error: WsError| Fault::Protocol(error.to_string());
        let mut request = target
            .endpoint
            .request_url()
            .into_client_request()
            .map_err(protocol)?;
        for (name, value) in &target.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(*name), HeaderValue::try_from(value))
            {
                request.headers_mut().insert(name, value);
            }
        }
        #[cfg(feature = "compression")]
        if let Some(limit) = self.inflates {
            let offer = HeaderValue::from_static(inflate::OFFER);
            let headers = request.headers_mut();
            headers.insert(header::SEC_WEBSOCKET_EXTENSIONS, offer);
            wire.offer_compression(limit);
        }
        let middle = ClientHandshake::start(wire, request, Some(self.limits)).map_err(protocol)?;
        Ok(Step::Next(SetUp::Upgrading {
            middle: Box::new(middle),
            proxy: target.proxy.as_ref().map(ToString::to_string),
        }))
    }

    fn upgrade(
        &mut self,
        middle: MidHandshake<ClientHandshake<Wire>>,
        proxy: Option<String>,
    ) -> Result<Step, Fault> {
        match middle.handshake() {
            Ok((websocket, response)) => {
                // Straight after the upgrade frames may lie in the buffers already.
                self.more = true;
                let mut websocket = Box::new(websocket);
                match self.take_extensions(response.headers(), websocket.get_mut()) {
                    Ok(()) => Ok(Step::Open(websocket)),
                    Err(why) => {
                        self.state = State::Open(websocket);
                        Err(Fault::Protocol(why))
                    }
                }
            }
            Err(HandshakeError::Interrupted(middle)) => {
                self.more = middle.get_ref().get_ref().is_spent();
                Ok(Step::Waits(SetUp::Upgrading {
                    middle: Box::new(middle),
                    proxy,
                }))
            }
            Err(HandshakeError::Failure(error)) => {
                self.state = State::HalfClosed;
                Err(behind_proxy(faults::fault(error), proxy.as_deref()))
            }
        }
    }

    /// Takes what the server says of extensions, and says what is wrong with it.
    fn take_extensions(&self, answer: &HeaderMap, wire: &mut Wire) -> Result<(), String> {
        let answers = answer.get_all(header::SEC_WEBSOCKET_EXTENSIONS).iter();
        #[cfg(feature = "compression")]
        if self.inflates.is_some() {
            let agreement = inflate::agreement(answers.map(HeaderValue::as_bytes));
            wire.begin_frames(
                agreement.map_err(|why| {
                    format!("the server's answer to the offer to compress: {why}")
                })?,
            );
            return Ok(());
        }
        let _ = wire;
        match answers.count() {
            0 => Ok(()),
            _ => Err("the server uses an extension that nobody offered".to_owned()),
        }
    }

    /// Whether those whom a connection to the target is to trust are known. What is wrong with them is said once they are
    /// needed.
    fn has_roots(&mut self, target: &Target) -> bool {
        #[cfg(feature = "tls")]
        if target.endpoint.is_secure() {
            return !matches!(self.tls.get(), Ok(None));
        }
        let _ = target;
        true
    }

    /// What becomes of a set-up that takes too long here, and who is to blame, where something is known.
    pub(super) fn overdue_in(&self, set_up: &SetUp, why: String) -> Fault {
        let (target, source) = match set_up {
            #[cfg(feature = "tls")]
            SetUp::Resolving { target, .. }
                if target.endpoint.is_secure() && self.tls.is_reading() =>
            {
                let source = Some(Source::new(io::Error::other(super::UNREAD_ROOTS)));
                return Fault::Lost { why, source };
            }
            SetUp::Resolving { target, .. } | SetUp::Tunneling { target, .. } => (target, None),
            SetUp::Connecting { connecting, target } => (target, Some(connecting.obstacle())),
            #[cfg(feature = "tls")]
            SetUp::Securing { target, .. } => {
                let proxy = target.proxy.as_ref().map(ToString::to_string);
                return behind_proxy(Fault::Lost { why, source: None }, proxy.as_deref());
            }
            SetUp::Upgrading { proxy, .. } => {
                return behind_proxy(Fault::Lost { why, source: None }, proxy.as_deref());
            }
        };
        match &target.proxy {
            Some(proxy) => {
                let source = source.unwrap_or_else(|| Source::new(io::Error::other(why)));
                at_proxy(proxy.to_string(), ProxyFault::Silent, Some(source))
            }
            None => Fault::Lost { why, source },
        }
    }
}

fn at_proxy(proxy: String, fault: ProxyFault, source: Option<Source>) -> Fault {
    Fault::Proxy {
        proxy,
        fault,
        source,
    }
}

/// A proxy may answer in the venue's place, or end or hold up what goes through it: what fails behind one says that it is
/// there.
fn behind_proxy(mut fault: Fault, proxy: Option<&str>) -> Fault {
    if let (Fault::Tls { why, .. } | Fault::Lost { why, .. } | Fault::Protocol(why), Some(proxy)) =
        (&mut fault, proxy)
    {
        why.push_str("; the connection goes through the proxy ");
        why.push_str(proxy);
    }
    fault
}

const OLD_ADDRESSES: &str =
    "the addresses of its last answer are used, and the one that worked last";

/// A resolver that is asked for what is known gets so much time, or a quarter of what the set-up has: a name rarely moves,
/// and `getaddrinfo` needs 20 s to find that no server of names answers.
const RESOLVER_PATIENCE: Duration = Duration::from_secs(1);
