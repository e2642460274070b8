//! IP intelligence as a user meets it: the embedded database, files laid over it, and a build from local files.
#![allow(missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

use farend::intel::{BuildInputs, Class, FarEnd, Intel, build, cli};

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl std::ops::Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn folder(name: &str) -> Folder {
    let path = std::env::temp_dir().join(format!("farend-intel-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).expect("temporary folder");
    Folder(path)
}

fn write(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, content).expect("temporary file");
    path
}

fn lookup(intel: &Intel, ip: &str) -> FarEnd {
    intel.lookup(ip.parse().expect(ip))
}

/// An iporigin `ranges.bin` with IPv4 ranges only.
fn iporigin(labels: &[&str], ranges: &[(&str, &str, u16)]) -> Vec<u8> {
    let number = |ip: &str| u32::from(ip.parse::<std::net::Ipv4Addr>().expect(ip));
    let mut out = b"IPORIGIN\x01\x00".to_vec();
    out.extend_from_slice(&1_791_200_061_u64.to_le_bytes());
    out.extend_from_slice(&(labels.len() as u16).to_le_bytes());
    out.extend_from_slice(&(ranges.len() as u32).to_le_bytes());
    out.extend_from_slice(&0_u32.to_le_bytes());
    for label in labels {
        out.extend_from_slice(&(label.len() as u16).to_le_bytes());
        out.extend_from_slice(label.as_bytes());
    }
    for (first, last, label) in ranges {
        out.extend_from_slice(&number(first).to_le_bytes());
        out.extend_from_slice(&number(last).to_le_bytes());
        out.extend_from_slice(&label.to_le_bytes());
    }
    out
}

#[test]
fn the_embedded_database_places_well_known_addresses() {
    let intel = Intel::embedded();
    for (ip, asn, class) in [
        ("52.95.110.1", 16509, Class::Hosting),
        ("88.198.0.1", 24940, Class::Hosting),
        ("88.198.54.20", 24940, Class::Hosting),
        ("104.131.0.1", 14061, Class::Hosting),
        ("51.38.0.1", 16276, Class::Hosting),
        ("185.156.46.1", 212_238, Class::Vpn),
        ("73.1.1.1", 7922, Class::Isp),
        ("73.158.44.12", 7922, Class::Isp),
        ("99.1.1.1", 7018, Class::Isp),
        ("172.56.1.1", 21928, Class::Mobile),
        ("185.213.154.68", 39351, Class::Vpn),
        ("8.8.8.8", 15169, Class::Hosting),
        ("185.220.101.1", 60729, Class::Tor),
        ("104.16.1.1", 13335, Class::Cdn),
        ("104.28.28.1", 13335, Class::Relay),
        ("18.0.0.1", 3, Class::Education),
        ("2a01:4f8::1", 24940, Class::Hosting),
        ("2600:1f00::1", 16509, Class::Hosting),
        ("2001:41d0::1", 16276, Class::Hosting),
        ("2601:600:8000::1", 7922, Class::Isp),
        ("2001:4860:4860::8888", 15169, Class::Hosting),
        ("2606:4700::1111", 13335, Class::Cdn),
        ("2a03:1b20::1", 39351, Class::Vpn),
        ("2a05:d014::1", 16509, Class::Hosting),
        ("5.161.0.1", 213_230, Class::Hosting),
        ("2604:a880::1", 14061, Class::Hosting),
        ("2a03:b0c0::1", 14061, Class::Hosting),
        ("2607:5300::1", 16276, Class::Hosting),
        ("212.102.35.1", 212_238, Class::Vpn),
        ("89.187.160.1", 60068, Class::Hosting),
        ("193.138.218.74", 39351, Class::Vpn),
        ("2601::1", 7922, Class::Isp),
        ("2600:1700::1", 7018, Class::Isp),
        ("2602:300::1", 7018, Class::Isp),
        ("34.64.0.1", 396_982, Class::Hosting),
        ("2600:1900::1", 396_982, Class::Hosting),
        ("2a0b:f4c2::1", 60729, Class::Tor),
        ("2620:7:6001::1", 62744, Class::Tor),
        ("2001:19f0::1", 20473, Class::Hosting),
        ("2603:1000::1", 8075, Class::Hosting),
        ("2602:f5c8::1", 212_238, Class::Vpn),
        ("2407:5680::1", 60068, Class::Hosting),
    ] {
        let far_end = lookup(&intel, ip);
        assert_eq!((far_end.asn, far_end.class), (Some(asn), class), "{ip}: {far_end:?}");
        let network = far_end.network.expect("a prefix");
        assert!(network.contains(ip.parse().expect(ip)), "{ip} is not in {network}");
    }
    let hetzner = lookup(&intel, "88.198.0.1");
    assert_eq!(hetzner.as_org.as_deref(), Some("Hetzner Online GmbH"));
    assert_eq!(hetzner.country, Some(*b"DE"));
    assert_eq!(&*hetzner.class_basis, "asn:hosting-table");
    assert_eq!(&*lookup(&intel, "185.213.154.68").class_basis, "prefix:iporigin Mullvad");
    assert_eq!(&*lookup(&intel, "185.220.101.1").class_basis, "prefix:iporigin Tor");
}

#[test]
fn no_address_of_an_access_provider_is_called_residential() {
    // 71.160.0.1 is Verizon's and has no AS in the table: a country and nothing else is said.
    let far_end = lookup(&Intel::embedded(), "71.160.0.1");
    assert_eq!((far_end.asn, far_end.class, &*far_end.class_basis), (None, Class::Unknown, "none"));
    assert_eq!(far_end.country, Some(*b"US"));
}

#[test]
fn addresses_of_threat_reports_are_named_beside_their_measured_as() {
    let intel = Intel::embedded();
    for (ip, asn, beside) in [
        ("194.33.45.162", 62240, "asn:hosting-table"),
        ("45.86.208.162", 62240, "asn:hosting-table"),
        ("70.39.70.194", 46844, "asn:hosting-table"),
        ("70.32.3.15", 32181, "asn:hosting-table"),
        ("38.170.181.10", 174, "asn:isp-table"),
        ("155.94.199.59", 36352, "asn:hosting-table"),
        ("142.214.202.2", 7393, "asn:hosting-table"),
    ] {
        let far_end = lookup(&intel, ip);
        assert_eq!((far_end.asn, far_end.class), (Some(asn), Class::Vpn), "{ip}: {far_end:?}");
        assert!(far_end.class_basis.starts_with("report:"), "{ip}: {}", far_end.class_basis);
        assert!(far_end.class_basis.ends_with(beside), "{ip}: {}", far_end.class_basis);
    }
    // The neighbours of a reported address are what their AS is.
    assert_eq!(lookup(&intel, "194.33.45.163").class, Class::Hosting);
}

#[test]
fn ipv4_inside_ipv6_is_looked_up_and_said() {
    let intel = Intel::embedded();
    let plain = lookup(&intel, "88.198.0.1");
    assert_eq!(lookup(&intel, "::ffff:88.198.0.1"), plain);
    let six_to_four = lookup(&intel, "2002:58c6:1::1");
    assert_eq!((six_to_four.asn, six_to_four.class), (plain.asn, plain.class));
    assert_eq!(&*six_to_four.class_basis, "6to4 88.198.0.1: asn:hosting-table");
}

#[test]
fn a_list_overrides_the_class_and_leaves_the_as() {
    let folder = folder("list");
    let vpn = write(
        &folder,
        "vpn.txt",
        "# date: 2026-11-01\n73.1.1.0/24\n10.0.0.0/8\n10.8.0.0/16\n203.0.113.0/24\n",
    );
    let tor =
        write(&folder, "exits.txt", "# class: tor\n# name: Exits\n# date: 2026-11-02\n73.1.1.1\nnonsense\n");
    let intel = Intel::with_files(&[vpn, tor.clone()]).expect("two lists");

    let listed = lookup(&intel, "73.1.1.9");
    assert_eq!(
        (listed.asn, listed.class, &*listed.class_basis),
        (Some(7922), Class::Vpn, "file:vpn.txt 2026-11-01")
    );
    assert_eq!(listed.network.map(|net| net.to_string()).as_deref(), Some("73.1.1.0/24"));
    let later = lookup(&intel, "73.1.1.1");
    assert_eq!((later.class, &*later.class_basis), (Class::Tor, "file:exits.txt 2026-11-02 Exits"));
    assert_eq!(lookup(&intel, "73.1.2.1").class, Class::Isp, "not listed");

    // A list that holds all private space does not make the home network a VPN; a part of it that it singles out is.
    assert_eq!(lookup(&intel, "10.1.1.1").class, Class::Private);
    assert_eq!(lookup(&intel, "10.8.1.1").class, Class::Vpn);
    assert_eq!(lookup(&intel, "203.0.113.7").class, Class::Vpn);

    assert_eq!(
        intel.warnings(),
        [format!("{}:5: not an address, prefix or range; the line was skipped", tor.display())]
    );
}

#[test]
fn a_file_that_is_neither_database_nor_list_is_an_error_of_one_line() {
    let folder = folder("bad");
    for (name, content, expected) in [
        ("words.txt", &b"hello\nworld\n"[..], "words.txt:1: not an address"),
        ("binary.dat", b"\x00\x01\xff\xfe", "binary.dat: byte 2: neither a MaxMind-format database nor text"),
        ("half.mmdb", b"\x00\x01\xff\xfe", "half.mmdb: no MaxMind-format database: its metadata is missing"),
        ("cut.mmdb", b"\xab\xcd\xefMaxMind.com\xe1", "cut.mmdb: damaged database"),
        ("ips.txt", b"8.8.8.8\n", "ips.txt: what are these? Add a first line `# class: NAME`"),
    ] {
        let path = write(&folder, name, content);
        let error =
            Intel::with_files(&[path]).err().unwrap_or_else(|| panic!("{name} was accepted")).to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let missing = folder.join("missing.mmdb");
    let error = Intel::with_files(std::slice::from_ref(&missing)).err().expect("no such file").to_string();
    assert!(error.starts_with(&format!("{}: No such file", missing.display())), "{error}");
}

/// Builds from three small files; returns the database's path and the report's text.
fn small_build(folder: &Path, out: &str) -> (PathBuf, String) {
    let asn = write(
        folder,
        "asn.csv",
        "20.0.0.0,20.0.255.255,64500,\"Example Cloud, Inc.\"\n\
         20.0.128.0,20.1.255.255,64501,Example Cable Broadband\n\
         20.2.0.0,20.2.0.255,64502,Quiet Ltd\n\
         20.3.0.0,20.3.0.255,64503,Plain Ltd\n\
         2400:1::,2400:1:ffff:ffff:ffff:ffff:ffff:ffff,64500,\"Example Cloud, Inc.\"\n\
         broken row\n",
    );
    write(folder, "package.json", r#"{"name": "@ip-location-db/asn", "version": "2.3.2026061719"}"#);
    let country = write(folder, "country.csv", "20.0.0.0,20.0.255.255,DE\n20.9.0.0,20.9.0.255,FR\n");
    let origin = write(
        folder,
        "ranges.bin",
        iporigin(
            &["Tor\ttor", "Hetzner\thosting", "Cogent\thosting", "Apple Private Relay\tvpn", "GPTBot\tbot"],
            &[
                ("20.0.0.7", "20.0.0.7", 0),
                ("20.0.1.0", "20.0.1.255", 1),
                ("20.1.0.0", "20.1.0.0", 3),
                ("20.2.0.0", "20.2.0.200", 1),
                ("20.3.0.0", "20.3.0.255", 2),
                ("20.4.0.0", "20.4.0.255", 4),
            ],
        ),
    );
    let inputs =
        BuildInputs { asn_csv: vec![asn], country_csv: vec![country], iporigin: Some(origin), classes: None };
    let out = folder.join(out);
    let text = cli::build_text(&inputs, &out).expect("buildable");
    (out, text)
}

#[test]
fn a_build_joins_as_country_and_prefix_classes_and_reports_what_it_left_out() {
    let folder = folder("build");
    let (database, report) = small_build(&folder, "own.mmdb");
    assert!(report.contains("asn.csv:6: expected 3 (country), 4 (ASN) or 5 (both) fields"), "{report}");
    assert!(report.contains("left out (no licence, or no class): Cogent, GPTBot"), "{report}");
    assert!(report.contains("1 overlapping ranges clipped, 1 rows skipped"), "{report}");

    let intel = Intel::with_files(&[database]).expect("own database");
    for (ip, asn, class, basis) in [
        ("20.0.0.1", Some(64500), Class::Hosting, "asn:hosting-name 'cloud'"),
        ("20.0.0.7", Some(64500), Class::Tor, "prefix:iporigin Tor"),
        // The AS is a hoster already: that the prefix is rented out says no more.
        ("20.0.1.1", Some(64500), Class::Hosting, "asn:hosting-name 'cloud'"),
        // Rows overlap: the one that starts later has the addresses.
        ("20.0.200.1", Some(64501), Class::Isp, "asn:isp-name 'broadband'"),
        ("20.1.0.0", Some(64501), Class::Relay, "prefix:iporigin Apple Private Relay"),
        // 201 of its 256 addresses are known as rented.
        ("20.2.0.250", Some(64502), Class::Hosting, "asn:iporigin-share"),
        ("20.3.0.1", Some(64503), Class::Unknown, "none"),
        ("20.9.0.1", None, Class::Unknown, "none"),
        ("2400:1::5", Some(64500), Class::Hosting, "asn:hosting-name 'cloud'"),
    ] {
        let far_end = lookup(&intel, ip);
        assert_eq!((far_end.asn, far_end.class), (asn, class), "{ip}: {far_end:?}");
        assert_eq!(&*far_end.class_basis, format!("file:own.mmdb 2026-10-05 {basis}"), "{ip}");
    }
    assert_eq!(lookup(&intel, "20.0.0.1").country, Some(*b"DE"));
    assert_eq!(lookup(&intel, "20.9.0.1").country, Some(*b"FR"));
    // A database made by a build replaces the embedded one.
    assert_eq!(lookup(&intel, "8.8.8.8").asn, None);
}

#[test]
fn a_build_gives_the_same_bytes_each_time_and_in_packed_form_the_same_answers() {
    let folder = folder("repeat");
    let (first, _) = small_build(&folder, "first.mmdb");
    let (second, _) = small_build(&folder, "second.mmdb");
    assert!(fs::read(&first).unwrap() == fs::read(&second).unwrap(), "two builds of the same files differ");

    let (packed, _) = small_build(&folder, "third.pack");
    let from_packed = Intel::with_files(&[packed]).expect("packed database");
    assert_eq!(lookup(&from_packed, "20.0.0.7").class, Class::Tor);
}

#[test]
fn a_build_without_a_readable_row_says_which_line_it_stumbled_on() {
    let folder = folder("empty");
    let asn = write(&folder, "asn.csv", "a,b,c,d\n");
    let inputs = BuildInputs { asn_csv: vec![asn.clone()], ..BuildInputs::default() };
    let error = build(&inputs, &mut Vec::new()).expect_err("nothing to build from").to_string();
    assert_eq!(
        error,
        format!("{0}: no readable row, the first is {0}:1: not an address range", asn.display())
    );
}

#[test]
fn update_recognises_each_file_by_its_content() {
    let folder = folder("update");
    small_build(&folder, "ignored.mmdb");
    let files = ["ranges.bin", "country.csv", "asn.csv"].map(|name| folder.join(name));
    let out = folder.join("updated.mmdb");
    let text = cli::update_text(&files, &out).expect("all three are known");
    assert!(text.contains("use it with: --intel"), "{text}");
    assert!(text.contains("asn.csv:6: expected 3 (country), 4 (ASN) or 5 (both) fields"), "{text}");
    assert!(text.contains("npm pack @ip-location-db/asn"), "the commands that get newer ones: {text}");
    assert!(fs::read(&out).unwrap() == fs::read(folder.join("ignored.mmdb")).unwrap());

    let stray = write(&folder, "stray.txt", "hello\n");
    let error = cli::update_text(&[stray], &out).expect_err("unknown").to_string();
    assert!(error.contains("stray.txt: none of: ASN table, country table"), "{error}");
}

#[test]
fn lookup_prints_a_table_or_json_and_names_what_is_no_address() {
    let intel = Intel::embedded();
    let ips = ["10.0.0.1".to_owned(), "88.198.0.1".to_owned()];
    let text = cli::lookup_text(&intel, &ips, false).expect("two addresses");
    assert!(text.lines().next().unwrap().starts_with("address "), "{text}");
    assert!(text.contains("AS24940  Hetzner Online GmbH  DE       hosting  asn:hosting-table"), "{text}");
    let json = cli::lookup_text(&intel, &ips, true).expect("two addresses");
    let rows: Vec<serde_json::Value> =
        json.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(rows[0]["class"], "private");
    assert_eq!(rows[0]["asn"], serde_json::Value::Null);
    assert_eq!(rows[1]["network"], "88.198.0.0/16");
    let error = cli::lookup_text(&intel, &["8.8.8.8:53".to_owned()], false).expect_err("a port").to_string();
    assert_eq!(error, "8.8.8.8:53: not an IPv4 or IPv6 address (no port, no prefix)");
}

#[test]
fn info_credits_every_source_and_says_when_one_is_stale() {
    let intel = Intel::embedded();
    let built = Intel::embedded_date();
    let newest = intel.info().into_iter().filter(|source| source.kind.max_age_days().is_some());
    assert_eq!(newest.filter_map(|source| source.built).max(), Some(built), "the packed header agrees");

    let text = cli::info_text(&intel, built, false);
    for credit in
        ["CC BY 4.0", "routeviews.org", "nro.net", "db-ip.com", "CC0-1.0", "iporigin", "Yuix Networks"]
    {
        assert!(text.contains(credit), "{credit} is not credited:\n{text}");
    }
    assert!(!text.contains("STALE"), "{text}");
    let later = "2036-01-01".parse().expect("a day");
    let text = cli::info_text(&intel, later, false);
    assert!(text.contains("STALE") && text.contains("npm pack @ip-location-db/asn"), "{text}");
}

#[test]
fn every_kind_of_list_of_the_users_says_name_and_age_in_the_basis() {
    let folder = folder("lists");
    let ip = "73.1.1.1";
    let spur = r#"{"ip":"73.1.1.1","infrastructure":"DATACENTER","tunnels":[{"operator":"ASTRILL_VPN","type":"VPN"}]}"#;
    for (name, content, class, basis) in [
        ("torbulkexitlist", "73.1.1.1\n".to_owned(), Class::Tor, "file:torbulkexitlist DAY"),
        (
            "exit-addresses.tor",
            "# class: tor\nExitNode A\nPublished 2026-11-01 00:00:00\nLastStatus 2026-11-01\nExitAddress 73.1.1.1 2026-11-01 00:00:00\n".to_owned(),
            Class::Tor,
            "file:exit-addresses.tor DAY",
        ),
        ("my_vpn.txt", "73.1.0.0/16\n".to_owned(), Class::Vpn, "file:my_vpn.txt DAY"),
        ("proxies.csv", "73.1.1.1,8080\n".to_owned(), Class::Proxy, "file:proxies.csv DAY"),
        (
            "ips.txt",
            "# class: vpn\n# name: Astrill\n# date: 2026-11-02\n73.1.1.1\n".to_owned(),
            Class::Vpn,
            "file:ips.txt 2026-11-02 Astrill",
        ),
        ("feed.json", format!("{spur}\n"), Class::Vpn, "file:feed.json DAY spur ASTRILL_VPN"),
    ] {
        let path = write(&folder, name, content);
        let intel = Intel::with_files(std::slice::from_ref(&path)).unwrap_or_else(|e| panic!("{name}: {e}"));
        let far_end = lookup(&intel, ip);
        assert_eq!((far_end.asn, far_end.class), (Some(7922), class), "{name}");
        // Without a date of its own a list is as old as its file.
        let day = intel.info().pop().and_then(|source| source.built).expect("a day").to_string();
        assert_eq!(*far_end.class_basis, basis.replace("DAY", &day), "{name}");
    }
}
