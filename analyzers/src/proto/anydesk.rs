//! AnyDesk's search on the local network (UDP, ports 50001 to 50003 by default).
//!
//! In: datagrams. Out: the label `anydesk`: an installation tells its number, its host's and its user's name, whether asked by another one
//! or when it starts. Sessions are TLS and known by protocol name and certificate (the catalogue).

use crate::{Analyzer, FirstBytes, Kind, Meta, Next, Out, Probe, Reader, Segment, Short, Transport, Verdict};

const ANNOUNCEMENT: Kind = Kind {
    name: "anydesk.announcement",
    decibans: 35,
    says: "an installation tells its number and names to the local network (layout published with CVE-2020-13160)",
};

/// The datagram, integers big-endian.
mod layout {
    pub(super) const MAGIC: [u8; 2] = [0x3E, 0xD1];
    pub(super) const VERSIONS: std::ops::RangeInclusive<u8> = 1..=15;
    /// Before the platform's number.
    pub(super) const PLATFORM: u8 = 2;
    pub(super) const PLATFORM_MAX: u8 = 31;
    /// Names of host and user, alias: each behind its length.
    pub(super) const NAMES: usize = 3;
    pub(super) const NAME_MAX: u32 = 512;
}

/// What is known of the flow.
#[derive(Debug, Default)]
pub struct State;

/// Number of the installation, if the datagram is an announcement.
fn announcement(data: &[u8]) -> Result<Option<u32>, Short> {
    let mut r = Reader::new(data);
    let magic: [u8; 2] = r.array()?;
    if magic != layout::MAGIC || !layout::VERSIONS.contains(&r.u8()?) {
        return Ok(None);
    }
    let (number, _) = (r.u32()?, r.u32()?);
    let platform: [u8; 2] = r.array()?;
    let [mark, platform] = platform;
    if mark != layout::PLATFORM || platform > layout::PLATFORM_MAX || number == 0 {
        return Ok(None);
    }
    for at in 0..layout::NAMES {
        let len = r.u32()?;
        if len > layout::NAME_MAX || (at == 0 && len == 0) {
            return Ok(None);
        }
        let name = r.take(usize::try_from(len).unwrap_or(usize::MAX))?;
        if str::from_utf8(name).is_err() || name.iter().any(u8::is_ascii_control) {
            return Ok(None);
        }
    }
    Ok(Some(number))
}

impl Analyzer for State {
    const META: Meta = Meta {
        name: "anydesk",
        title: "AnyDesk discovery",
        label: Some("anydesk"),
        app_proto: "failed",
        transports: &[Transport::Udp],
        ports: &[50001, 50002, 50003],
        first: FirstBytes::of(&[layout::MAGIC[0]]),
        budget: 4_096,
        carrier: false,
        reference: "No specification is published; layout as in the analysis of CVE-2020-13160 (devel0pment.de, 2020)",
        evidence: &[ANNOUNCEMENT],
    };

    fn probe(p: &Probe<'_>) -> Verdict {
        if matches!(announcement(p.data), Ok(Some(_))) { Verdict::Yes } else { Verdict::No }
    }

    fn on_data(&mut self, seg: &Segment<'_>, out: &mut Out) -> Next {
        let Ok(Some(number)) = announcement(seg.data) else { return Next::NotMine };
        out.evidence(&ANNOUNCEMENT, format!("installation {number}"));
        out.is("anydesk");
        Next::Done
    }
}

#[cfg(test)]
pub(crate) const FIXTURES: &[crate::fixture::Fixture<'_>] = &[tests::ANNOUNCED];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Dir;
    use crate::fixture::{Fixture, drive};

    const DATAGRAM: &[u8] =
        b"\x3e\xd1\x01\x07\x5b\xcd\x15\0\0\0\0\x02\x01\0\0\0\x04desk\0\0\0\x03ann\0\0\0\0\0\0\0\x04eth0\0\
        \0\0\0\x03abc\x02\xc3\x51";

    pub(super) const ANNOUNCED: Fixture<'_> = Fixture {
        name: "an installation tells who it is",
        transport: Transport::Udp,
        payloads: &[(Dir::ToServer, DATAGRAM)],
    };

    #[test]
    fn an_announcement_is_anydesk_and_nobody_is_operated_by_it() {
        let got = drive::<State>(&ANNOUNCED, usize::MAX).out;
        assert_eq!((got.label, got.controlled), (Some("anydesk"), None));
        assert_eq!(got.evidence[0].detail.as_ref(), "installation 123456789");
    }

    #[test]
    fn what_does_not_fit_the_layout_is_left_to_others() {
        // Magic, version, no number, the mark before the platform, a length beyond the end, a control character, nothing behind.
        let changes: [(usize, u8); 6] = [(1, 0xD2), (2, 0x40), (11, 3), (15, 1), (17, 7), (20, b'\n')];
        for (at, byte) in changes {
            let mut bytes = DATAGRAM.to_vec();
            bytes[at] = byte;
            let payloads = &[(Dir::ToServer, &bytes[..])];
            assert!(!drive::<State>(&Fixture { payloads, ..ANNOUNCED }, usize::MAX).mine, "{at}");
        }
        let payloads = &[(Dir::ToServer, &DATAGRAM[..24])];
        assert!(!drive::<State>(&Fixture { payloads, ..ANNOUNCED }, usize::MAX).mine);
    }
}
