//! The one way to read bytes in an analyzer: a cursor that answers [`Short`] where bytes end, and never panics.

/// The bytes ended before the field did: more may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short;

/// A cursor over bytes; integers are big-endian unless the name says `le`.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    taken: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first byte.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, taken: 0 }
    }

    /// Bytes read so far.
    #[must_use]
    pub const fn taken(&self) -> usize {
        self.taken
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Whether all is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let (head, rest) = self.rest.split_at_checked(n).ok_or(Short)?;
        self.rest = rest;
        self.taken = self.taken.saturating_add(n);
        Ok(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let bytes = self.take(N)?;
        bytes.try_into().map_err(|_| Short)
    }

    /// Passes over `n` bytes.
    pub fn skip(&mut self, n: usize) -> Result<(), Short> {
        self.take(n).map(|_| ())
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Short> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_be_bytes)
    }

    /// Three bytes.
    pub fn u24(&mut self) -> Result<u32, Short> {
        self.array().map(|[a, b, c]| u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Result<u64, Short> {
        self.array().map(u64::from_be_bytes)
    }

    /// Two bytes, little-endian.
    pub fn u16_le(&mut self) -> Result<u16, Short> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, little-endian.
    pub fn u32_le(&mut self) -> Result<u32, Short> {
        self.array().map(u32::from_le_bytes)
    }

    /// A vector with a one-byte length before it.
    pub fn vec8(&mut self) -> Result<&'a [u8], Short> {
        let n = self.u8()?;
        self.take(usize::from(n))
    }

    /// A vector with a two-byte length before it.
    pub fn vec16(&mut self) -> Result<&'a [u8], Short> {
        let n = self.u16()?;
        self.take(usize::from(n))
    }

    /// A vector with a three-byte length before it.
    pub fn vec24(&mut self) -> Result<&'a [u8], Short> {
        let n = self.u24()?;
        self.take(usize::try_from(n).map_err(|_| Short)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_longer_than_the_bytes_is_short_and_takes_nothing_of_its_body() {
        let mut r = Reader::new(&[0, 5, 1, 2]);
        assert_eq!(r.vec16(), Err(Short));
        assert_eq!(r.rest(), &[1, 2]);
    }

    #[test]
    fn integers_are_big_endian_unless_named_le() {
        let mut r = Reader::new(&[1, 2, 3, 4, 5, 6, 7, 8, 9]);
        assert_eq!(r.u16(), Ok(0x0102));
        assert_eq!(r.u24(), Ok(0x0003_0405));
        assert_eq!(r.u16_le(), Ok(0x0706));
        assert_eq!(r.taken(), 7);
        assert_eq!(r.u24(), Err(Short));
    }
}
