//! Server certificates (X.509, RFC 5280).
//!
//! In: DER of a leaf certificate as it came over the wire. Out: subject, issuer, names, serial, validity and fingerprint, printed as
//! Suricata prints them so that its rules' values can be compared. Nothing is verified.

use crate::Tls;
use crate::fingerprint::hex_colons;
use sha1::{Digest, Sha1};
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

/// DNS names kept of a certificate.
const SANS_MAX: usize = 16;
/// Characters kept of a subject or issuer; real ones are below 300.
const NAME_MAX: usize = 1024;
/// Octets that a serial number may have (RFC 5280 section 4.1.2.2), and one for a sign.
const SERIAL_MAX: usize = 21;

/// Writes what the certificate `der` tells into a flow's facts. Of bytes that are no certificate only the fingerprint is known.
pub fn describe(der: &[u8], tls: &mut Tls) {
    tls.fingerprint = Some(hex_colons(&Sha1::digest(der)).into());
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return };
    tls.subject = Some(shortened(&certificate.subject().to_string()));
    tls.issuer = Some(shortened(&certificate.issuer().to_string()));
    let serial = certificate.raw_serial();
    let serial = serial.get(..serial.len().min(SERIAL_MAX)).unwrap_or_default();
    tls.serial = Some(hex_colons(serial).to_ascii_uppercase().into());
    tls.not_before = Some(certificate.validity().not_before.timestamp());
    tls.not_after = Some(certificate.validity().not_after.timestamp());
    if let Ok(Some(names)) = certificate.subject_alternative_name() {
        let dns = names.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(shortened(name).to_ascii_lowercase().into()),
            _ => None,
        });
        tls.sans = dns.take(SANS_MAX).collect();
    }
}

fn shortened(text: &str) -> Box<str> {
    text.chars().take(NAME_MAX).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_vectors::CERTIFICATE;

    #[test]
    fn a_certificate_is_printed_as_suricata_prints_it() {
        let mut tls = Tls::default();
        describe(&CERTIFICATE, &mut tls);
        assert_eq!(tls.subject.as_deref(), Some("C=US, O=Example Org, CN=vpn.example.test"));
        assert_eq!(tls.issuer, tls.subject);
        // As `openssl x509 -serial -fingerprint -sha1 -dates` prints them, apart from letter case and the serial's sign octet.
        assert_eq!(tls.serial.as_deref(), Some("00:BF:FE:1F:01"));
        assert_eq!(
            tls.fingerprint.as_deref(),
            Some("ad:8e:e9:cf:50:0c:f6:81:36:74:f1:6a:6b:ea:a0:76:0f:13:5d:13")
        );
        assert_eq!(tls.sans, ["vpn.example.test".into(), Box::from("*.example.test")]);
        assert_eq!((tls.not_before, tls.not_after), (Some(1_795_500_986), Some(1_827_036_986)));
    }

    #[test]
    fn bytes_that_are_no_certificate_have_a_fingerprint_and_nothing_else() {
        let mut tls = Tls::default();
        describe(&CERTIFICATE[..200], &mut tls);
        assert!(tls.fingerprint.is_some());
        assert_eq!((tls.subject, tls.serial, tls.sans.len()), (None, None, 0));
    }

    #[test]
    fn a_certificate_with_any_byte_changed_is_no_panic() {
        for i in 0..CERTIFICATE.len() {
            for value in [0, 0x7F, 0x80, 0xFF] {
                let mut der = CERTIFICATE;
                der[i] = value;
                describe(&der, &mut Tls::default());
            }
        }
    }
}
