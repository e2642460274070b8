//! Fixed-width fields of capture formats, which come in either byte order.

/// The 16-bit field at `at`.
///
/// # Panics
/// When the field is not inside `bytes`; callers check the length of the whole structure first.
#[inline(always)]
pub(super) fn u16_at<const BIG_ENDIAN: bool>(bytes: &[u8], at: usize) -> u16 {
    let field = [bytes[at], bytes[at + 1]];
    if BIG_ENDIAN { u16::from_be_bytes(field) } else { u16::from_le_bytes(field) }
}

/// The 32-bit field at `at`.
///
/// # Panics
/// When the field is not inside `bytes`; callers check the length of the whole structure first.
#[inline(always)]
pub(super) fn u32_at<const BIG_ENDIAN: bool>(bytes: &[u8], at: usize) -> u32 {
    let field = [bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]];
    if BIG_ENDIAN { u32::from_be_bytes(field) } else { u32::from_le_bytes(field) }
}
