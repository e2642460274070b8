//! A network namespace of a test's own, with interfaces that it may do with as it likes.

use std::ffi::CString;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;

/// Set in the run inside the namespace.
const INSIDE: &str = "FAREND_TEST_NAMESPACE";

/// What a namespace must allow: to keep the kernel's own IPv6 packets out of it, and a pair of interfaces.
const PREPARE: &str = "f=/proc/sys/net/ipv6/conf/default/disable_ipv6; [ ! -e $f ] || echo 1 > $f";
const TRY: &str = "ip link add va type veth peer name vb && ip link set va up";

/// Runs `body` in a network namespace; outside of it that is another run of this test, which is waited for.
pub fn inside(test: &str, body: impl FnOnce()) {
    let sh = |script: &str| {
        let mut command = Command::new("sh");
        command.args(["-ec", script]);
        command
    };
    if std::env::var_os(INSIDE).is_some() {
        assert!(sh(PREPARE).status().expect("sh").success(), "it was possible a moment ago");
        if has_rings() {
            body();
        } else {
            eprintln!("{test} is skipped: this kernel gives no AF_PACKET rings of version 3");
        }
        return;
    }
    let namespace = ["--net", "--map-root-user"];
    let possible =
        Command::new("unshare").args(namespace).args(["sh", "-ec", &format!("{PREPARE}\n{TRY}")]).output();
    if !possible.is_ok_and(|o| o.status.success()) {
        eprintln!("{test} is skipped: here no network namespace with interfaces can be made (unshare, ip)");
        return;
    }
    let again = std::env::current_exe().expect("this program");
    let status = Command::new("unshare")
        .args(namespace)
        .arg(again)
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare");
    assert!(status.success(), "{test}: {status} in the namespace");
}

/// Whether the system knows what is tested here at all.
fn has_rings() -> bool {
    let version: libc::c_int = libc::tpacket_versions::TPACKET_V3 as libc::c_int;
    // SAFETY: plain calls; the results are checked, the option is as long as said.
    unsafe {
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        if fd < 0 {
            return false;
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let (value, len) = ((&raw const version).cast(), size_of::<libc::c_int>() as u32);
        libc::setsockopt(fd.as_raw_fd(), libc::SOL_PACKET, libc::PACKET_VERSION, value, len) == 0
    }
}

/// Runs ip(8).
pub fn ip(args: &str) {
    let done = Command::new("ip").args(args.split(' ')).output().expect("ip");
    assert!(done.status.success(), "ip {args}: {}", String::from_utf8_lossy(&done.stderr));
}

/// A pair of interfaces: what is sent on the first comes in at the second.
pub fn wire(a: &str, b: &str) {
    ip(&format!("link add {a} mtu 9000 type veth peer name {b} mtu 9000"));
    ip(&format!("link set {a} up"));
    ip(&format!("link set {b} up"));
}

/// Puts frames on an interface.
pub struct Sender {
    socket: OwnedFd,
    to: libc::sockaddr_ll,
}

impl Sender {
    /// That one.
    pub fn on(interface: &str) -> Self {
        let name = CString::new(interface).unwrap();
        // SAFETY: plain calls; the results are checked, all zero is a value of the structure.
        unsafe {
            let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
            assert!(fd >= 0, "{}", std::io::Error::last_os_error());
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = libc::if_nametoindex(name.as_ptr()) as i32;
            Self { socket: OwnedFd::from_raw_fd(fd), to }
        }
    }

    /// A whole frame.
    pub fn send(&self, frame: &[u8]) {
        let to: *const libc::sockaddr_ll = &raw const self.to;
        // SAFETY: buffer and address are as long as said.
        let sent = unsafe {
            libc::sendto(
                self.socket.as_raw_fd(),
                frame.as_ptr().cast(),
                frame.len(),
                0,
                to.cast(),
                size_of::<libc::sockaddr_ll>() as u32,
            )
        };
        assert_eq!(sent, frame.len() as isize, "{}", std::io::Error::last_os_error());
    }
}
