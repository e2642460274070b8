//! A fixed-capacity array that costs memory only where it has been touched.
//!
//! Flow entries must not move (their index is their name), and growing a `Vec` would hold two copies at once. An anonymous
//! mapping gives the whole capacity as address space and pages on first touch.

use std::io;
use std::marker::PhantomData;

use memmap2::MmapMut;

use crate::fetch::fetch;

/// Marks types for which all-zero bytes are a valid value and which own nothing.
///
/// # Safety
/// Every bit pattern of zeros must be a valid value of the type, and the type must not need `Drop`.
pub unsafe trait Zeroed: Copy {}

/// `capacity` values of `T`, zero until written.
pub(super) struct Arena<T: Zeroed> {
    map: MmapMut,
    capacity: usize,
    kind: PhantomData<T>,
}

impl<T: Zeroed> Arena<T> {
    /// Reserves address space for `capacity` values.
    pub(super) fn new(capacity: usize) -> io::Result<Self> {
        let bytes = capacity.max(1).checked_mul(size_of::<T>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let map = MmapMut::map_anon(bytes)?;
        // A million entries span tens of thousands of 4 KiB pages, more than any TLB holds.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        assert!(align_of::<T>() <= 4096, "mappings are page-aligned");
        Ok(Self { map, capacity, kind: PhantomData })
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    #[inline]
    pub(super) fn at(&self, i: usize) -> &T {
        assert!(i < self.capacity);
        // SAFETY: i is in range, the mapping is page-aligned and holds `capacity` values, and zero bytes are a valid T (Zeroed).
        unsafe { &*self.map.as_ptr().cast::<T>().add(i) }
    }

    #[inline]
    pub(super) fn at_mut(&mut self, i: usize) -> &mut T {
        assert!(i < self.capacity);
        // SAFETY: as in `at`, and `&mut self` makes the reference unique.
        unsafe { &mut *self.map.as_mut_ptr().cast::<T>().add(i) }
    }

    /// Asks the processor to fetch the line of value `i`; any `i` is allowed.
    #[inline]
    pub(super) fn prefetch(&self, i: usize) {
        fetch(self.map.as_ptr().cast::<T>().wrapping_add(i));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Pair(u64, u64);
    // SAFETY: two integers.
    unsafe impl Zeroed for Pair {}

    #[test]
    fn values_are_zero_until_written_and_stay_where_they_are() {
        let mut arena = Arena::<Pair>::new(100_000).expect("address space");
        assert_eq!(*arena.at(99_999), Pair(0, 0));
        *arena.at_mut(99_999) = Pair(1, 2);
        arena.prefetch(usize::MAX);
        assert_eq!(*arena.at(99_999), Pair(1, 2));
    }

    #[test]
    #[should_panic(expected = "i < self.capacity")]
    fn an_index_beyond_the_capacity_is_a_bug_and_says_so() {
        let _ = Arena::<Pair>::new(4).expect("address space").at(4);
    }
}
