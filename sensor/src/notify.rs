//! What a service manager (systemd) is told of this service's life. In: turns of that life. Out: datagrams to the socket that
//! `NOTIFY_SOCKET` names, as sd_notify(3) describes them; without that variable, nothing.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState as State;

/// The work has begun: units that wait for this one go on. Also after [`reloading`], when that is done.
///
/// # Errors
/// What the socket says; the service is no worse for it.
pub fn ready(status: &str) -> io::Result<()> {
    sd_notify::notify(&[State::Ready, State::Status(&one_line(status))])
}

/// The line that `systemctl status` shows.
///
/// # Errors
/// See [`ready`].
pub fn status(text: &str) -> io::Result<()> {
    sd_notify::notify(&[State::Status(&one_line(text))])
}

/// The settings are being read again; [`ready`] must follow, whether that worked or not.
///
/// # Errors
/// See [`ready`].
pub fn reloading() -> io::Result<()> {
    // systemd 253 and later wants the time with it.
    sd_notify::notify(&[State::Reloading, State::monotonic_usec_now()?])
}

/// The end has begun: what is left is being written.
///
/// # Errors
/// See [`ready`].
pub fn stopping(status: &str) -> io::Result<()> {
    sd_notify::notify(&[State::Stopping, State::Status(&one_line(status))])
}

/// Still working. Without this the manager restarts the service after the unit's `WatchdogSec`.
///
/// # Errors
/// See [`ready`].
pub fn alive() -> io::Result<()> {
    sd_notify::notify(&[State::Watchdog])
}

/// How often [`alive`] is to be called: half of what the manager waits for, as sd_watchdog_enabled(3) recommends. `None` where no
/// watchdog waits for this process.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()).map(|limit| limit / 2)
}

/// A line end would begin another assignment.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixDatagram;
    use std::process::Command;

    /// Says everything once. Run by the test below in a process of its own, whose environment is a service's.
    #[test]
    #[ignore = "run by what_a_service_manager_is_told_arrives_at_its_socket"]
    fn say_everything() {
        println!("watchdog {:?}", watchdog_interval());
        ready("listening on eth0").expect("sent");
        alive().expect("sent");
        reloading().expect("sent");
        status("farend.toml:\nREADY=0").expect("sent");
        stopping("writing what is left").expect("sent");
    }

    fn service(socket: Option<&std::path::Path>, watchdog: &[(&str, &str)]) -> String {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.args(["--exact", "notify::tests::say_everything", "--ignored", "--nocapture"]);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        command.envs(socket.map(|path| ("NOTIFY_SOCKET", path))).envs(watchdog.iter().copied());
        let output = command.output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
        said
    }

    #[test]
    fn what_a_service_manager_is_told_arrives_at_its_socket() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("a socket");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let said = service(Some(&path), &[("WATCHDOG_USEC", "30000000")]);
        assert!(said.contains("watchdog Some(15s)"), "{said}");
        let next = || {
            let mut buffer = [0; 512];
            let n = socket.recv(&mut buffer).expect("a datagram");
            String::from_utf8(buffer[..n].to_vec()).expect("text")
        };
        assert_eq!(next(), "READY=1\nSTATUS=listening on eth0\n");
        assert_eq!(next(), "WATCHDOG=1\n");
        let reloading = next();
        let at = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").expect("with the time");
        assert!(at.trim_end().parse::<u64>().is_ok_and(|at| at > 0), "{at}");
        assert_eq!(next(), "STATUS=farend.toml: READY=0\n", "a line end begins no assignment");
        assert_eq!(next(), "STOPPING=1\nSTATUS=writing what is left\n");
    }

    #[test]
    fn without_a_service_manager_nothing_is_said_and_nothing_fails() {
        assert!(service(None, &[]).contains("watchdog None"));
        let others = [("WATCHDOG_USEC", "30000000"), ("WATCHDOG_PID", "1")];
        assert!(service(None, &others).contains("watchdog None"), "another process is watched");
        assert!(service(None, &[("WATCHDOG_USEC", "0")]).contains("watchdog None"));
    }
}
