//! Remote-management and remote-desktop tools that speak plain HTTP, by the first request of a connection and its answer.
//!
//! In: what the HTTP analyzer knows when an answer's head is over. Out: whose it is. A name of a host says nothing here: that is the
//! catalogue's part.

use crate::Http;

/// A tool that shows in its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpTool {
    /// Its label.
    pub label: &'static str,
    /// What told it, for a person.
    pub detail: &'static str,
    /// Which side is operated, where the request tells.
    pub operated: Option<End>,
}

/// An end of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that asks.
    Client,
    /// The one that answers.
    Server,
}

/// How NetSupport's gateway client calls itself, and the only path it asks for (NetSupport Manager 9 to 14; Nessus plugin
/// `netsupport_gateway`, Corelight's zeek-netsupport-detector).
const NETSUPPORT_AGENT: &str = "NetSupport Manager/";
const NETSUPPORT_PATH: &str = "/fakeurl.htm";
/// TeamViewer's way through proxies: one connection for each direction (Emerging Threats 2009475 and 2008794).
const TEAMVIEWER_PATHS: [&str; 2] = ["/din.aspx?", "/dout.aspx?"];
const TEAMVIEWER_CLIENT: &str = "client=DynGate";
/// MeshCentral's agents and relays, where TLS ends before the server (MeshCentral's `webserver.js`, `meshrelay.js`).
const MESH_AGENT: &str = "/agent.ashx";
const MESH_RELAY: &str = "/meshrelay.ashx";
/// What an operator's end of a relay has in its target, and an agent's.
const MESH_OPERATOR: &str = "browser=1";
const MESH_RELAY_COOKIE: &str = "rauth=";

/// The tunnel of Guacamole's gateway for browsers without WebSocket (guacamole-common-js, Tunnel.js; GuacamoleHTTPTunnelServlet):
/// the query is an operation, for all but the first of them with the tunnel's UUID.
const GUACAMOLE_TUNNEL: &str = "/tunnel";
const GUACAMOLE_CONNECT: &str = "connect";
const GUACAMOLE_READ: &str = "read:";
const GUACAMOLE_WRITE: &str = "write:";
/// What PCoIP's clients ask brokers, and brokers ask agents, where TLS ends before the server (HP Anyware's broker protocol).
const PCOIP_BROKER: &str = "/pcoip-broker/xml";
const PCOIP_AGENT: &str = "/pcoip-agent/xml";
/// Blast's WebSocket on an agent: a folder of one letter, the session's UUID, a token (Horizon's HTML Access).
const BLAST_TOKEN: &str = "vauth=";

const SWITCHING_PROTOCOLS: u16 = 101;

impl HttpTool {
    /// The tool behind a request that was answered with `status`.
    #[must_use]
    pub fn of(http: &Http, status: u16) -> Option<Self> {
        let (method, url) = (http.method.as_deref()?, http.url.as_deref()?);
        let served = (200..300).contains(&status);
        let agent = http.user_agent.as_deref().unwrap_or_default();
        let netsupport = agent.starts_with(NETSUPPORT_AGENT) && url.ends_with(NETSUPPORT_PATH);
        if served && method == "POST" && netsupport {
            return Some(Self::new("netsupport", "a request of NetSupport Manager to its gateway"));
        }
        let dyngate = url.contains(TEAMVIEWER_CLIENT) && TEAMVIEWER_PATHS.iter().any(|p| url.starts_with(p));
        if served && dyngate {
            return Some(Self::new("teamviewer", "a request of TeamViewer to its router"));
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if served && is_guacamole(method, path, query) {
            let detail = "the tunnel of a Guacamole gateway";
            return Some(Self { operated: Some(End::Server), ..Self::new("guacamole", detail) });
        }
        if served && method == "POST" && path == PCOIP_BROKER {
            return Some(Self::new("pcoip", "a request of a PCoIP client to its broker"));
        }
        if served && method == "POST" && path == PCOIP_AGENT {
            let detail = "a broker has a PCoIP session launched";
            return Some(Self { operated: Some(End::Server), ..Self::new("pcoip", detail) });
        }
        if status != SWITCHING_PROTOCOLS {
            return None;
        }
        if is_blast(path, query) {
            let detail = "a session of Blast, by its identifier and token";
            return Some(Self { operated: Some(End::Server), ..Self::new("vmware_blast", detail) });
        }
        if path.ends_with(MESH_AGENT) {
            let detail = "an agent's control connection to MeshCentral";
            return Some(Self { operated: Some(End::Client), ..Self::new("meshcentral", detail) });
        }
        path.ends_with(MESH_RELAY).then(|| {
            let has = |wanted: &str| query.split('&').any(|part| part.starts_with(wanted));
            let of_agent = has(MESH_RELAY_COOKIE) && !has(MESH_OPERATOR);
            let operated = of_agent.then_some(End::Client);
            Self { operated, ..Self::new("meshcentral", "a session that MeshCentral relays") }
        })
    }

    const fn new(label: &'static str, detail: &'static str) -> Self {
        Self { label, detail, operated: None }
    }
}

/// Whether a request is one of Guacamole's tunnel.
fn is_guacamole(method: &str, path: &str, query: &str) -> bool {
    if !path.ends_with(GUACAMOLE_TUNNEL) {
        return false;
    }
    match method {
        "POST" if query == GUACAMOLE_CONNECT => true,
        "POST" => query.strip_prefix(GUACAMOLE_WRITE).is_some_and(is_uuid),
        "GET" => query.strip_prefix(GUACAMOLE_READ).is_some_and(|session| {
            // Newer clients number their requests.
            let (uuid, number) = session.split_once(':').unwrap_or((session, "0"));
            is_uuid(uuid) && number.bytes().all(|b| b.is_ascii_digit())
        }),
        _ => false,
    }
}

/// Whether a WebSocket's target is one of Blast's: `/d/<UUID>/?vauth=<token>`.
fn is_blast(path: &str, query: &str) -> bool {
    let mut parts = path.trim_matches('/').split('/');
    let folder = parts.next().is_some_and(|part| part.len() == 1);
    folder
        && parts.next().is_some_and(is_uuid)
        && parts.next().is_none()
        && query.split('&').any(|part| part.strip_prefix(BLAST_TOKEN).is_some_and(|token| !token.is_empty()))
}

/// Hexadecimal digits in groups of 8, 4, 4, 4 and 12 (RFC 9562 section 4).
fn is_uuid(text: &str) -> bool {
    const GROUPS: [usize; 5] = [8, 4, 4, 4, 12];
    let is_hex = |part: &str| part.bytes().all(|b| b.is_ascii_hexdigit());
    text.split('-').map(|part| if is_hex(part) { part.len() } else { 0 }).eq(GROUPS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(method: &str, url: &str, agent: &str) -> Http {
        Http {
            method: Some(method.into()),
            url: Some(url.into()),
            user_agent: Some(agent.into()),
            ..Http::default()
        }
    }

    fn label(method: &str, url: &str, agent: &str, status: u16) -> Option<&'static str> {
        HttpTool::of(&http(method, url, agent), status).map(|tool| tool.label)
    }

    #[test]
    fn netsupport_asks_its_gateway_for_one_path_under_its_own_name() {
        let ask = |url, agent, status| label("POST", url, agent, status);
        assert_eq!(ask("http://192.0.2.7/fakeurl.htm", "NetSupport Manager/1.3", 200), Some("netsupport"));
        assert_eq!(ask("/fakeurl.htm", "NetSupport Manager/1.0", 200), Some("netsupport"));
        assert_eq!(ask("/fakeurl.htm", "NetSupport Manager/1.3", 404), None);
        assert_eq!(ask("/fakeurl.htm", "curl/8.5", 200), None);
        assert_eq!(ask("/index.htm", "NetSupport Manager/1.3", 200), None);
        assert_eq!(label("GET", "/fakeurl.htm", "NetSupport Manager/1.3", 200), None);
    }

    #[test]
    fn teamviewer_names_itself_in_its_target() {
        let agent = "Mozilla/4.0 (compatible; MSIE 6.0; DynGate)";
        assert_eq!(label("GET", "/din.aspx?s=0&id=0&client=DynGate&p=10", agent, 200), Some("teamviewer"));
        assert_eq!(label("POST", "/dout.aspx?s=77&p=10&client=DynGate", agent, 200), Some("teamviewer"));
        assert_eq!(label("GET", "/din.aspx?s=0", agent, 200), None);
        assert_eq!(label("GET", "/find?q=/din.aspx?client=DynGate", agent, 200), None);
    }

    #[test]
    fn meshcentral_is_known_once_it_has_switched_and_its_agent_is_operated() {
        let of = |url, status| HttpTool::of(&http("GET", url, ""), status).map(|t| (t.label, t.operated));
        let agent = Some(("meshcentral", Some(End::Client)));
        assert_eq!(of("/agent.ashx", 101), agent);
        assert_eq!(of("/customer/agent.ashx", 101), agent);
        let relay = "/meshrelay.ashx?p=1&nodeid=node//a&id=b&rauth=c";
        assert_eq!(of(relay, 101), agent);
        let operator = "/meshrelay.ashx?browser=1&p=1&nodeid=node//a&id=b&auth=c";
        assert_eq!(of(operator, 101), Some(("meshcentral", None)));
        assert_eq!(of("/agent.ashx", 200), None);
        assert_eq!(of("/useragent.ashx", 101), None);
        assert_eq!(of("/agent.ashx.html", 101), None);
    }

    const UUID: &str = "0d1c44b0-91d1-4a52-9e0f-5f1d6a7c8e21";

    fn asked(method: &str, url: &str, status: u16) -> Option<(&'static str, Option<End>)> {
        HttpTool::of(&http(method, url, ""), status).map(|tool| (tool.label, tool.operated))
    }

    #[test]
    fn guacamoles_tunnel_is_known_by_its_operations_whatever_the_folder() {
        let desktop = Some(("guacamole", Some(End::Server)));
        for (method, url) in [
            ("POST", "/guacamole/tunnel?connect".to_owned()),
            ("POST", "/tunnel?connect".to_owned()),
            ("GET", format!("/guacamole/tunnel?read:{UUID}:0")),
            ("GET", format!("/guacamole/tunnel?read:{UUID}:1234")),
            ("GET", format!("/desk/tunnel?read:{UUID}")),
            ("POST", format!("/guacamole/tunnel?write:{UUID}")),
        ] {
            assert_eq!(asked(method, &url, 200), desktop, "{url}");
            assert_eq!(asked(method, &url, 404), None, "{url}");
        }
        for (method, url) in [
            ("GET", "/tunnel?connect".to_owned()),
            ("POST", "/tunnel?connect=1".to_owned()),
            ("POST", "/tunnel.jsp?cmd=connect".to_owned()),
            ("POST", format!("/tunnel?read:{UUID}:0")),
            ("GET", format!("/tunnel?read:{UUID}:x")),
            ("GET", format!("/tunnel?read:{}:0", UUID.replace('-', ""))),
            ("GET", format!("/tunnels?read:{UUID}:0")),
            ("POST", format!("/guacamole/tunnel?write:{UUID}0")),
        ] {
            assert_eq!(asked(method, &url, 200), None, "{url}");
        }
    }

    #[test]
    fn pcoips_brokers_and_agents_are_asked_at_paths_of_their_own() {
        assert_eq!(asked("POST", "/pcoip-broker/xml", 200), Some(("pcoip", None)));
        assert_eq!(asked("POST", "/pcoip-agent/xml", 200), Some(("pcoip", Some(End::Server))));
        assert_eq!(asked("GET", "/pcoip-broker/xml", 200), None, "a balancer looks whether it is alive");
        assert_eq!(asked("POST", "/pcoip-broker/xml", 503), None);
        assert_eq!(asked("POST", "/docs/pcoip-broker/xml", 200), None);
    }

    #[test]
    fn a_blast_session_is_a_websocket_with_its_identifier_and_token() {
        let url = format!("/d/{}/?vauth=LaQJrs2Rppei", UUID.to_uppercase());
        assert_eq!(asked("GET", &url, 101), Some(("vmware_blast", Some(End::Server))));
        assert_eq!(asked("GET", &url, 200), None, "the page that asks for the certificate's acceptance");
        for url in [
            format!("/d/{UUID}/"),
            format!("/d/{UUID}/?vauth="),
            format!("/d/{UUID}/more?vauth=a"),
            format!("/docs/{UUID}/?vauth=a"),
            "/ticket/1a2b3c4d5e6f?vauth=a".to_owned(),
        ] {
            assert_eq!(asked("GET", &url, 101), None, "{url}");
        }
    }
}
