//! noVNC, the VNC client that runs in a browser: how its page and scripts look when they are fetched.

/// Files and folders at the root of noVNC's distribution (noVNC 1.0 to 1.6).
const PAGES: [&str; 4] = ["vnc.html", "vnc_lite.html", "vnc_auto.html", "vnc_light.html"];
const SCRIPTS: [&str; 3] = ["core/", "app/", "vendor/pako/"];

/// Whether an answer by `server` to a request for `target` is the noVNC client: websockify, the bridge from WebSocket to VNC
/// that noVNC is shipped with, serving one of noVNC's own files.
pub(crate) fn serves_client(server: &str, target: &str) -> bool {
    if !server.starts_with("WebSockify") {
        return false;
    }
    let path = target.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
    PAGES.iter().any(|page| path == *page || path.ends_with(&format!("/{page}")))
        || (SCRIPTS.iter().any(|folder| path.starts_with(folder))
            && [".js", ".css", ".json", ".svg", ".png"].iter().any(|end| path.ends_with(end)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_websockify_with_a_file_of_novnc_is_the_client() {
        assert!(serves_client("WebSockify Python/3.11.2", "/vnc.html?autoconnect=true"));
        assert!(serves_client("WebSockify Python/3.11.2", "/core/util/int.js"));
        assert!(!serves_client("WebSockify Python/3.11.2", "/index.html"));
        assert!(!serves_client("WebSockify Python/3.11.2", "/core/rfb"));
        assert!(!serves_client("nginx", "/core/rfb.js"));
    }
}
