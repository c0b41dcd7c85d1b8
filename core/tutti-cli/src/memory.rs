//! Memory of the program.

use std::ffi::{c_int, c_long};

/// Every training step takes and gives back the same buffers of some MB: this allocator keeps them, where the system's returns them to the
/// kernel and has each page cleared again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// `mi_option_purge_delay`, in milliseconds: after so long the allocator too returns what is free. It does so for all of it at once, what is about to
/// be taken again as well.
const PURGE_DELAY: c_int = 15;

unsafe extern "C" {
    fn mi_option_set_default(option: c_int, value: c_long);
}

/// Keeps free memory for ten seconds, not for one. What the environment sets (`MIMALLOC_PURGE_DELAY`) stays.
pub fn keep_free_memory() {
    // SAFETY: of the allocator that is linked in; it takes any number of an option, and ignores one that it does not have.
    unsafe { mi_option_set_default(PURGE_DELAY, 10_000) };
}

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" {
        fn mi_option_get(option: c_int) -> c_long;
    }

    #[test]
    fn the_option_is_that_of_the_delay() {
        // SAFETY: as above.
        let of = || unsafe { mi_option_get(PURGE_DELAY) };
        assert_eq!(of(), 1000, "the allocator's own delay: its options may have other numbers now");
        keep_free_memory();
        assert_eq!(of(), 10_000);
    }
}
