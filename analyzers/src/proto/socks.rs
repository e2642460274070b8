//! SOCKS 4, 4a and 5.
//!
//! In: a byte stream. Out: the label `socks` once the proxy granted a request, the target as evidence, and every later byte of both
//! directions as the inner stream. A refusal, or a greeting that nobody answers, is evidence and no label.
//!
//! User names and passwords are passed over, never kept.

use crate::{Analyzer, Dir, FirstBytes, Kind, Meta, Next, Out, Probe, Segment, Short, Transport, Verdict};

#[path = "socks/wire.rs"]
mod wire;

use wire::{Reply, Request};

const GREETING: Kind = Kind {
    name: "socks.greeting",
    decibans: 12,
    says: "a client's list of authentication methods, and nothing else (RFC 1928 section 3)",
};
const REQUEST: Kind = Kind {
    name: "socks.request",
    decibans: 20,
    says: "a request to connect, bind or relay, with its target (RFC 1928 section 4; SOCKS 4 memo)",
};
const GRANTED: Kind = Kind {
    name: "socks.granted",
    decibans: 35,
    says: "the proxy granted the request (RFC 1928 section 6; SOCKS 4 memo)",
};
const GOES_ON: Kind = Kind {
    name: "socks.stream",
    decibans: 20,
    says: "one side alone: the client goes on behind its request, as it does once that is granted",
};
const REFUSED: Kind = Kind {
    name: "socks.refused",
    decibans: 20,
    says: "the proxy refused the request or the authentication (RFC 1928 sections 3 and 6; RFC 1929)",
};

/// What a side says next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// The client's greeting or the proxy's choice of a method; in SOCKS 4 request and reply.
    #[default]
    Opening,
    /// User name and password, or whether they are right (RFC 1929).
    Password,
    Request,
    /// BIND: the second reply, once somebody has called.
    Called,
    Inner,
}

/// What is known of the connection.
#[derive(Debug, Default)]
pub struct State {
    /// The direction in which the client sends.
    client: Option<Dir>,
    stages: [Stage; 2],
    /// The method that the proxy chose.
    method: Option<u8>,
    /// What the client asked for.
    request: Option<Request>,
    /// The proxy has spoken.
    answered: bool,
}

impl State {
    fn stage(&mut self, dir: Dir) -> &mut Stage {
        let [up, down] = &mut self.stages;
        if dir == Dir::ToServer { up } else { down }
    }

    /// Reads the client's next message; how many bytes it took.
    fn client_says(&mut self, dir: Dir, data: &[u8], out: &mut Out) -> Result<Option<usize>, Short> {
        let stage = *self.stage(dir);
        let (next, n) = match stage {
            Stage::Opening if data.first() == Some(&wire::V4) => {
                let Some((request, n)) = wire::request_v4(data)? else { return Ok(None) };
                self.asks(request, out);
                (Stage::Inner, n)
            }
            Stage::Opening => {
                let Some((methods, n)) = wire::greeting(data)? else { return Ok(None) };
                out.evidence(&GREETING, format!("offers {}", wire::names(methods)));
                (Stage::Password, n)
            }
            // Whether a password comes is the proxy's choice; the version byte of the next message tells it too.
            Stage::Password if data.first() == Some(&wire::PASSWORD_VERSION) => {
                (Stage::Request, wire::password(data)?)
            }
            Stage::Password | Stage::Request => {
                let Some((request, n)) = wire::request_v5(data)? else { return Ok(None) };
                self.asks(request, out);
                (Stage::Inner, n)
            }
            Stage::Called | Stage::Inner => {
                if !self.answered && !data.is_empty() && out.label.is_none() {
                    out.evidence(&GOES_ON, "data behind the request");
                    out.is("socks");
                }
                out.inner.extend_from_slice(data);
                (Stage::Inner, data.len())
            }
        };
        *self.stage(dir) = next;
        Ok(Some(n))
    }

    fn asks(&mut self, request: Request, out: &mut Out) {
        out.evidence(&REQUEST, request.to_string());
        self.request = Some(request);
    }

    /// Reads the proxy's next message.
    fn proxy_says(&mut self, dir: Dir, data: &[u8], out: &mut Out) -> Result<Option<usize>, Next> {
        self.answered = true;
        let stage = *self.stage(dir);
        let (next, n) = match stage {
            Stage::Opening if data.first() == Some(&wire::V4_REPLY) => {
                let (reply, n) = wait(wire::reply_v4(data))?;
                (self.answers(reply, false, out)?, n)
            }
            Stage::Opening => {
                let (method, n) = wait(wire::method(data))?;
                self.method = method;
                match method {
                    Some(wire::NO_AUTHENTICATION) => (Stage::Request, n),
                    Some(wire::USER_PASSWORD) => (Stage::Password, n),
                    Some(wire::NONE_ACCEPTABLE) => {
                        out.evidence(&REFUSED, "no acceptable method");
                        return Err(Next::Done);
                    }
                    // GSSAPI and private methods may wrap all that follows.
                    Some(_) => return Err(Next::Done),
                    None => return Ok(None),
                }
            }
            Stage::Password => {
                let (right, n) = wait(wire::password_status(data))?;
                if !right {
                    out.evidence(&REFUSED, "user name or password");
                    return Err(Next::Done);
                }
                (Stage::Request, n)
            }
            Stage::Request | Stage::Called => {
                let Some((reply, n)) = wait(wire::reply_v5(data))? else { return Ok(None) };
                (self.answers(reply, stage == Stage::Called, out)?, n)
            }
            Stage::Inner => {
                out.inner.extend_from_slice(data);
                (Stage::Inner, data.len())
            }
        };
        *self.stage(dir) = next;
        Ok(Some(n))
    }

    fn answers(&self, reply: Reply, called: bool, out: &mut Out) -> Result<Stage, Next> {
        if !reply.granted() {
            out.evidence(&REFUSED, reply.to_string());
            return Err(Next::Done);
        }
        if !called {
            out.evidence(
                &GRANTED,
                self.request.as_ref().map_or_else(|| reply.to_string(), Request::to_string),
            );
            out.is("socks");
        }
        match &self.request {
            Some(request) if request.is_bind() && !called => Ok(Stage::Called),
            // The datagrams go elsewhere; this connection only keeps the relay alive.
            Some(request) if request.is_udp() => Err(Next::Done),
            _ => Ok(Stage::Inner),
        }
    }
}

/// A message whose end is missing is waited for.
fn wait<T>(message: Result<T, Short>) -> Result<T, Next> {
    message.map_err(|Short| Next::Continue { consumed: 0 })
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "socks",
        title: "SOCKS",
        label: Some("socks"),
        app_proto: "socks",
        transports: &[Transport::Tcp],
        ports: &[1080, 9050, 9150],
        first: FirstBytes::of(&[wire::V4, wire::V5, wire::V4_REPLY]),
        budget: 65_536,
        carrier: true,
        reference: "RFC 1928, RFC 1929; SOCKS: A protocol for TCP proxy across firewalls (Lee 1992), SOCKS 4A (Lee)",
        evidence: &[GREETING, REQUEST, GRANTED, GOES_ON, REFUSED],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if !p.from_start {
            return Verdict::No;
        }
        let client = wire::is_client(p.data);
        let proxy = wire::is_proxy(p.data, !p.other.is_empty());
        match (client, proxy) {
            (Ok(true), _) | (_, Ok(true)) => Verdict::Yes,
            (Ok(false), Ok(false)) => Verdict::No,
            _ => Verdict::More,
        }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        if seg.gap && *self.stage(seg.dir) != Stage::Opening {
            return Next::Done;
        }
        // Whoever speaks first is the client, unless what it says is a proxy's answer.
        let client = *self.client.get_or_insert_with(|| {
            if wire::is_client(seg.data) == Ok(false) { seg.dir.reverse() } else { seg.dir }
        });
        out.client = Some(client.sender());
        let mut rest = seg.data;
        loop {
            let consumed = seg.data.len().saturating_sub(rest.len());
            if rest.is_empty() {
                return Next::Continue { consumed };
            }
            let took = if seg.dir == client {
                wait(self.client_says(seg.dir, rest, out))
            } else {
                self.proxy_says(seg.dir, rest, out)
            };
            match took {
                Ok(Some(n)) => rest = rest.get(n..).unwrap_or(&[]),
                // Something else behind a SOCKS opening is no SOCKS; the opening stays evidence.
                Ok(None) if out.evidence.is_empty() => return Next::NotMine,
                Ok(None) => return Next::Done,
                Err(Next::Continue { .. }) => return Next::Continue { consumed },
                Err(next) => return next,
            }
        }
    }
}

#[cfg(test)]
#[path = "socks/tests.rs"]
mod tests;
#[cfg(test)]
pub(crate) use tests::FIXTURES;
