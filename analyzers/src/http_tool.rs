//! Remote-management tools that speak plain HTTP, by the first request of a connection and its answer.
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
    /// The side that asks is the one that is operated.
    pub operates_client: bool,
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
        if status != SWITCHING_PROTOCOLS {
            return None;
        }
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        if path.ends_with(MESH_AGENT) {
            let detail = "an agent's control connection to MeshCentral";
            return Some(Self { operates_client: true, ..Self::new("meshcentral", detail) });
        }
        path.ends_with(MESH_RELAY).then(|| {
            let has = |wanted: &str| query.split('&').any(|part| part.starts_with(wanted));
            let operates_client = has(MESH_RELAY_COOKIE) && !has(MESH_OPERATOR);
            Self { operates_client, ..Self::new("meshcentral", "a session that MeshCentral relays") }
        })
    }

    const fn new(label: &'static str, detail: &'static str) -> Self {
        Self { label, detail, operates_client: false }
    }
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
        let of =
            |url, status| HttpTool::of(&http("GET", url, ""), status).map(|t| (t.label, t.operates_client));
        assert_eq!(of("/agent.ashx", 101), Some(("meshcentral", true)));
        assert_eq!(of("/customer/agent.ashx", 101), Some(("meshcentral", true)));
        let relay = "/meshrelay.ashx?p=1&nodeid=node//a&id=b&rauth=c";
        assert_eq!(of(relay, 101), Some(("meshcentral", true)));
        let operator = "/meshrelay.ashx?browser=1&p=1&nodeid=node//a&id=b&auth=c";
        assert_eq!(of(operator, 101), Some(("meshcentral", false)));
        assert_eq!(of("/agent.ashx", 200), None);
        assert_eq!(of("/useragent.ashx", 101), None);
        assert_eq!(of("/agent.ashx.html", 101), None);
    }
}
