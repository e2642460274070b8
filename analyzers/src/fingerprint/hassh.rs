//! HASSH (Salesforce, 2018, BSD-3): MD5 of the algorithms that one side of SSH offers.

use crate::Hassh;
use crate::fingerprint::md5_hex;

/// The string kept beside the hash is cut here: real ones are below 1,500 bytes.
const STRING_MAX: usize = 4096;

/// HASSH of one side's lists, each as sent (names with commas between): key exchange, then those of the direction in which this
/// side sends: encryption, MAC, compression.
#[must_use]
pub fn of(kex: &str, encryption: &str, mac: &str, compression: &str) -> Hassh {
    let mut string = [kex, encryption, mac, compression].join(";");
    let hash = md5_hex(&string).into();
    if string.len() > STRING_MAX {
        string = string.chars().take(STRING_MAX).collect();
    }
    Hassh { hash, string: string.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_joined_by_semicolons_and_hashed() {
        let got = of("a,b", "c", "d", "none");
        assert_eq!(&*got.string, "a,b;c;d;none");
        assert_eq!(&*got.hash, "27cf8f3fc7ebe14f501a91434b6d3d26");
    }
}
