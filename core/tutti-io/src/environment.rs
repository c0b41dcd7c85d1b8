//! Settings of libraries that can be made by the environment alone.

/// Makes them; what the user has set stays.
///
/// candle's own workers spin between operations and take the processors from ours: they are to sleep soon. HDF5 locks files that are
/// only read, which fails on many network file systems and while another program looks at the file.
///
/// # Safety
/// No other thread may read or write the environment meanwhile: call it first of all.
pub unsafe fn set_library_defaults() {
    for (name, value) in [("CANDLE_BARRIER_POOL_SPIN_LIMIT", "200"), ("HDF5_USE_FILE_LOCKING", "FALSE")] {
        if std::env::var_os(name).is_none() {
            // SAFETY: what the caller promised.
            unsafe { std::env::set_var(name, value) };
        }
    }
}
