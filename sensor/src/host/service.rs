//! A service inside that outsiders call: what a finding about inbound sessions is about.

use std::fmt;

use crate::decode::proto;

/// From here on ports are nobody's by registration (RFC 6335 section 6): a call to one of them is no service by its number.
const DYNAMIC_PORTS: u16 = 49_152;

/// Protocol and port of a service. Dynamic ports are one service: a mesh of peers (calls, games, torrents) uses a new one each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    proto: u8,
    port: u16,
}

impl Service {
    /// The service that a flow with IP protocol `proto` to `port` calls.
    #[must_use]
    pub fn called(proto: u8, port: u16) -> Self {
        Self { proto, port: port.min(DYNAMIC_PORTS) }
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports = match self.proto {
            proto::TCP => "TCP",
            proto::UDP => "UDP",
            proto::SCTP => "SCTP",
            other => return write!(f, "IP protocol {other}"),
        };
        match self.port {
            DYNAMIC_PORTS => write!(f, "{ports} ports from {DYNAMIC_PORTS} on"),
            port => write!(f, "{ports} port {port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_protocol_and_port_and_dynamic_ports_are_one() {
        let told = |proto, port| Service::called(proto, port).to_string();
        assert_eq!(told(proto::TCP, 3389), "TCP port 3389");
        assert_eq!(told(proto::UDP, 3389), "UDP port 3389");
        assert_eq!(told(proto::UDP, 50_000), told(proto::UDP, 60_000));
        assert_eq!(told(proto::TCP, 49_152), "TCP ports from 49152 on");
        assert_eq!(told(proto::GRE, 0), "IP protocol 47");
        assert_ne!(Service::called(proto::TCP, 49_151), Service::called(proto::TCP, 49_152));
    }
}
