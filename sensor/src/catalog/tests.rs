//! The built-in catalogue, and looking things up in it.

use super::*;

fn hit(name: &str) -> Option<(&'static str, bool)> {
    Catalogue::embedded().name(name).map(|hit| (hit.tool, hit.session))
}

#[test]
fn the_built_in_files_are_valid_and_large_enough_to_be_useful() {
    let files = EMBEDDED.map(|(file, text)| (Path::new(file), text));
    let read = file::read(&files, &|_| false)
        .unwrap_or_else(|all| panic!("{}", all.iter().map(|m| format!("{m}\n")).collect::<String>()));
    let tools = Catalogue::embedded().tools();
    assert_eq!(tools, read, "what the build made of the files is not what they say");
    assert!(tools.len() >= 286, "{} tools", tools.len());
    for name in [
        "AnyDesk",
        "quick assist",
        "ConnectWise Control",
        "Mullvad",
        "ngrok",
        "JetKVM",
        "Tailscale",
        "BeyondTrust",
    ] {
        assert!(Catalogue::embedded().tool(name).is_some(), "{name}");
    }
}

#[test]
fn a_relay_is_a_session_and_the_vendors_web_site_is_not() {
    for (name, tool) in [
        ("relay-0a1b2c3d.net.anydesk.com", "AnyDesk"),
        ("boot.net.anydesk.com", "AnyDesk"),
        ("router15.teamviewer.com", "TeamViewer"),
        ("instance-x1y2z3-relay.screenconnect.com", "ScreenConnect"),
        ("rs-ny.rustdesk.com", "RustDesk"),
        ("agent-api.atera.com", "Atera"),
        ("node123.dwservice.net", "DWService"),
        ("geo.netsupportsoftware.com", "NetSupport Manager"),
        ("us1234.nordvpn.com", "NordVPN"),
        ("se-got-wg-001.relays.mullvad.net", "Mullvad"),
        ("connect.us.ngrok-agent.com", "ngrok"),
        ("region1.v2.argotunnel.com", "Cloudflare Tunnel"),
        ("derp4.tailscale.com", "Tailscale"),
        ("api.jetkvm.com", "JetKVM"),
        ("euw-data.rel.tunnels.api.visualstudio.com", "Visual Studio Dev Tunnel"),
    ] {
        assert_eq!(hit(name), Some((tool, true)), "{name}");
    }
    for (name, tool) in [
        ("anydesk.com", "AnyDesk"),
        ("docs.anydesk.com", "AnyDesk"),
        ("www.teamviewer.com", "TeamViewer"),
        ("teamviewer.com", "TeamViewer"),
        ("www.dwservice.net", "DWService"),
        ("docs.eu.screenconnect.com", "ScreenConnect"),
        ("support.nordvpn.com", "NordVPN"),
        ("mullvad.net", "Mullvad"),
        ("abc.ngrok-free.app", "ngrok"),
        ("quick-words.trycloudflare.com", "Cloudflare Tunnel"),
        ("app.jetkvm.com", "JetKVM"),
        ("my.splashtop.com", "Splashtop"),
    ] {
        assert_eq!(hit(name), Some((tool, false)), "{name}");
    }
    for name in [
        "google.com",
        "www.google.com",
        "zoom.us",
        "us02web.zoom.us",
        "microsoft.com",
        "meet.google.com",
        "s3.amazonaws.com",
        "example.com",
        "github.com",
        "mail.zoho.com",
        "account.proton.me",
        "www.sophos.com",
        "storage.googleapis.com",
        "d111.cloudfront.net",
        "www.icloud.com",
    ] {
        assert_eq!(hit(name), None, "{name}");
    }
}

#[test]
fn hostile_names_match_nothing_or_what_they_end_in_and_never_panic() {
    for name in [
        "RELAY-1.NET.ANYDESK.COM",
        "relay-1.net.anydesk.com.",
        "a.b.c.d.e.f.g.h.net.anydesk.com",
        "xn--bcher-kva.net.anydesk.com",
    ] {
        assert_eq!(hit(name), Some(("AnyDesk", true)), "{name}");
    }
    let long = format!("{}.net.anydesk.com", "a".repeat(64));
    let longer = format!("{}net.anydesk.com", "a.".repeat(200));
    let deep = format!("{}net.anydesk.com", "a.".repeat(118));
    for name in [
        "",
        ".",
        "..",
        "com",
        "*.net.anydesk.com",
        ".net.anydesk.com",
        "a..net.anydesk.com",
        "net.anydesk.com..",
        "net.anydesk.com.example",
        "xnet.anydesk.org",
        "relay-1.net.anydesk.com:443",
        "bücher.net.anydesk.com",
        "a b.net.anydesk.com",
        "a\0.net.anydesk.com",
        &long,
        &longer,
        "127.0.0.1",
    ] {
        assert_eq!(hit(name), None, "{name:?}");
    }
    assert_eq!(hit(&deep), Some(("AnyDesk", true)));
    assert_eq!(
        hit("evilnet.anydesk.com"),
        Some(("AnyDesk", false)),
        "below anydesk.com, not below net.anydesk.com"
    );
}

#[test]
fn a_certificate_is_known_by_one_whole_part_of_its_names() {
    let c = Catalogue::embedded();
    let tool = |subject, issuer| c.certificate(subject, issuer).map(|hit| hit.tool);
    assert_eq!(tool("C=DE, O=philandro Software GmbH, CN=AnyNet Relay", ""), Some("AnyDesk"));
    assert_eq!(tool("CN=AnyDesk Client", "CN=AnyDesk Client"), Some("AnyDesk"));
    assert_eq!(tool("CN=x", "CN=AnyNet Root CA, O=philandro Software GmbH, C=DE"), Some("AnyDesk"));
    assert_eq!(tool("C=US, O=PiKVM, OU=PiKVM, CN=localhost", ""), Some("PiKVM"));
    assert_eq!(tool("CN=AnyNet Relay 2", "CN=anydesk client"), None);
    assert_eq!(tool("O=CN=AnyNet Relay", ""), None);
}

#[test]
fn an_alpn_protocol_is_known_whole_or_by_its_beginning() {
    let c = Catalogue::embedded();
    assert_eq!(c.alpn("anydesk/6.2.0/linux").map(|hit| hit.tool), Some("AnyDesk"));
    assert_eq!(c.alpn("argotunnel").map(|hit| hit.tool), Some("Cloudflare Tunnel"));
    assert_eq!([c.alpn("h2"), c.alpn("any"), c.alpn(""), c.alpn("argotunnel2")], [None; 4]);
}

#[test]
fn a_users_file_adds_tools_replaces_those_of_its_names_and_its_rules_win() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("mine.toml");
    let text = "label = \"rmm_other\"\n[[tool]]\nname = \"anydesk\"\nlabel = \"anydesk\"\n[[tool.fact]]\nsource = \"ours\"\nsession = \
                [\"relay.corp.example\"]\n[[tool]]\nname = \"House tool\"\nvia = [\"TeamViewer\"]\n[[tool.fact]]\nsource = \"ours\"\n\
                session = [\"router*.teamviewer.com\"]\n";
    std::fs::write(&path, text).expect("writable");
    let c = Catalogue::with_files(&[path]).expect("valid");
    assert_eq!(c.name("relay.corp.example").map(|hit| (hit.tool, hit.source)), Some(("anydesk", "ours")));
    assert_eq!(c.name("boot.net.anydesk.com"), None, "the built-in row is replaced");
    assert_eq!(c.name("router1.teamviewer.com").map(|hit| hit.tool), Some("House tool"));
    assert_eq!(c.name("client.teamviewer.com").map(|hit| hit.tool), Some("TeamViewer"));
    assert_eq!(c.tools().len(), Catalogue::embedded().tools().len() + 1);
}
