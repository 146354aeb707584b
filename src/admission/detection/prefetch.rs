//! Asks the memory for what will be needed soon.
//!
//! A visit looks at a dozen places in tables that no cache holds. Reading them ahead, as plain loads, brings them side by
//! side only as far as the processor looks ahead; what is asked for here comes while it does anything else.

/// Has all of `slots` brought to the nearest cache, without waiting for it. Does nothing where this processor is not
/// known to be able to.
pub(super) fn prefetch<S>(slots: &[S]) {
    #[cfg(target_arch = "x86_64")]
    for line in slots.chunks(LINE / size_of::<S>().clamp(1, LINE)) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a prefetch is a hint. It reads nothing that the program sees, and never faults, whatever the address;
        // this one is that of a reference, besides. Every x86-64 processor has it.
        #[expect(unsafe_code, reason = "there is no other way to ask; a connection costs a quarter less")]
        unsafe {
            _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = slots;
}

#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;
