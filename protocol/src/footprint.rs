//! Resident bytes of what is kept on the heap (LIMIT-11): the sizes that bounds in bytes add up.
//!
//! A bound that counts payloads alone is a multiple of itself in memory. These functions count what a general-purpose
//! allocator hands out: a header of 8 bytes, rounded up to 16, whole pages for large pieces. The numbers are those of glibc;
//! other allocators differ by less than the quarter that LIMIT-11 allows.

/// Smallest piece that is handed out, in bytes.
const SMALLEST: usize = 32;
/// From this size on a piece has pages of its own, in bytes.
const MAPPED: usize = 128 * 1024;
const PAGE: usize = 4096;

/// Resident bytes of one heap allocation. Nothing is allocated for a size of 0.
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        MAPPED.. => (bytes + 16).next_multiple_of(PAGE),
        _ => {
            let rounded = (bytes + 8).next_multiple_of(16);
            if rounded < SMALLEST { SMALLEST } else { rounded }
        }
    }
}

/// Resident bytes of a value of this size behind an `Arc`, whose two counts are allocated with it.
pub const fn shared(bytes: usize) -> usize {
    allocated(2 * size_of::<usize>() + bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limit_11_a_piece_of_memory_counts_as_the_allocator_rounds_it() {
        assert_eq!([0, 1, 24, 25, 40, 41].map(allocated), [0, 32, 32, 48, 48, 64]);
        assert_eq!(shared(0), 32);
        assert_eq!(allocated(1 << 20), (1 << 20) + 4096);
        // Never less than what was asked for, and never more than it by a page.
        for bytes in (1..300_000).step_by(7) {
            assert!((bytes..bytes + 2 * 4096).contains(&allocated(bytes)), "{bytes}");
        }
    }
}
