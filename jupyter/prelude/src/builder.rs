//! Options of a call are kept as the values of this crate are: each method returns another one, and the one before is as it was. A cell that
//! ends in a variable does not use it up.

/// The same with a change.
pub(crate) fn changed<T: Clone>(of: &T, change: impl FnOnce(&mut T)) -> T {
    let mut other = of.clone();
    change(&mut other);
    other
}
