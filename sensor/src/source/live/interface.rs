//! Network interfaces by name: index, kind, state.
//!
//! In: a name. Out: what the kernel says of it (netdevice(7)). Asked by ioctl and not in `/sys`, which may show another network namespace.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// ARPHRD_ numbers (`linux/if_arp.h`) of interfaces whose frames are Ethernet: those themselves and the loopback interface.
const ETHERNET: [u16; 2] = [libc::ARPHRD_ETHER, libc::ARPHRD_LOOPBACK];
/// Of those that carry bare IP: raw IP, PPP, none (TUN), tunnels.
const BARE_IP: [u16; 4] = [519, libc::ARPHRD_PPP, libc::ARPHRD_NONE, libc::ARPHRD_TUNNEL];
/// LINKTYPE_RAW.
const DLT_RAW: u16 = 101;
/// LINKTYPE_ETHERNET.
pub(super) const DLT_ETHERNET: u16 = 1;

/// An interface as it is at the moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    /// LINKTYPE_ number of its frames; `None` for kinds that are not read here.
    pub(super) dlt: Option<u16>,
    /// ARPHRD_ number.
    pub(super) kind: u16,
    pub(super) up: bool,
    /// Largest packet, bytes.
    pub(super) mtu: u32,
    pub(super) loopback: bool,
}

/// Looks an interface up; `None` if there is none of this name.
pub(super) fn look_up(name: &str) -> Option<Interface> {
    let text = CString::new(name).ok()?;
    // SAFETY: a string that ends with zero; the call keeps nothing of it.
    let index = unsafe { libc::if_nametoindex(text.as_ptr()) };
    if index == 0 {
        return None;
    }
    // SAFETY: the arms of the union that the kernel fills for these questions.
    let (flags, mtu, kind) = unsafe {
        (
            ask(&text, libc::SIOCGIFFLAGS)?.ifr_ifru.ifru_flags,
            ask(&text, libc::SIOCGIFMTU)?.ifr_ifru.ifru_mtu,
            ask(&text, libc::SIOCGIFHWADDR)?.ifr_ifru.ifru_hwaddr.sa_family,
        )
    };
    let dlt = if ETHERNET.contains(&kind) {
        Some(DLT_ETHERNET)
    } else {
        BARE_IP.contains(&kind).then_some(DLT_RAW)
    };
    Some(Interface {
        index,
        dlt,
        kind,
        up: libc::c_int::from(flags) & libc::IFF_UP != 0,
        mtu: u32::try_from(mtu).unwrap_or(0),
        loopback: kind == libc::ARPHRD_LOOPBACK,
    })
}

/// Asks the kernel about an interface; `None` if it is gone.
fn ask(name: &CStr, question: libc::Ioctl) -> Option<libc::ifreq> {
    // SAFETY: the questions asked here fill the request itself.
    unsafe { request(name, question, |_| {}) }.ok()
}

/// Makes a request of an interface (netdevice(7)), whose arguments `fill` puts in; the request as the kernel leaves it.
///
/// # Safety
/// What `fill` puts in must be what `question` takes.
unsafe fn request(
    name: &CStr,
    question: libc::Ioctl,
    fill: impl FnOnce(&mut libc::ifreq),
) -> io::Result<libc::ifreq> {
    // SAFETY: plain system call; the result is checked.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that is open and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all zero is a value of this plain structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.to_bytes().len() >= request.ifr_name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.to_bytes()) {
        *to = *from as libc::c_char;
    }
    fill(&mut request);
    // SAFETY: a whole request, with the arguments that the caller answers for.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), question, &raw mut request) };
    if done == 0 { Ok(request) } else { Err(io::Error::last_os_error()) }
}

/// `struct hwtstamp_config` of `linux/net_tstamp.h`.
#[repr(C)]
struct HardwareTime {
    flags: libc::c_int,
    transmit: libc::c_int,
    receive: libc::c_int,
}
/// `HWTSTAMP_FILTER_ALL`.
const EVERY_FRAME: libc::c_int = 1;

/// Tells the card to stamp every frame that comes in with its time. Takes CAP_NET_ADMIN.
pub(super) fn stamp_frames(name: &str) -> io::Result<()> {
    let name = CString::new(name)?;
    let mut wanted = HardwareTime { flags: 0, transmit: 0, receive: EVERY_FRAME };
    let wanted = (&raw mut wanted).cast();
    // SAFETY: this question takes a pointer to that structure, which lives on until it is answered.
    unsafe {
        request(&name, libc::SIOCSHWTSTAMP as libc::Ioctl, |request| request.ifr_ifru.ifru_data = wanted)?;
    }
    Ok(())
}

/// The name of the interface with this index, if there still is one.
pub(super) fn name_of(index: u32) -> Option<String> {
    let mut name = [0u8; libc::IF_NAMESIZE];
    // SAFETY: room for a name of any length, as the call asks for.
    let found = unsafe { libc::if_indextoname(index, name.as_mut_ptr().cast()) };
    if found.is_null() {
        return None;
    }
    let len = name.iter().position(|b| *b == 0)?;
    String::from_utf8(name[..len].to_vec()).ok()
}

/// Names of all interfaces, for messages.
pub(super) fn names() -> Vec<String> {
    let mut names = Vec::new();
    // SAFETY: a list that ends with a zero index, freed once.
    unsafe {
        let list = libc::if_nameindex();
        let mut at = list;
        while !at.is_null() && (*at).if_index != 0 {
            names.push(CStr::from_ptr((*at).if_name).to_string_lossy().into_owned());
            at = at.add(1);
        }
        if !list.is_null() {
            libc::if_freenameindex(list);
        }
    }
    names.sort();
    names
}
