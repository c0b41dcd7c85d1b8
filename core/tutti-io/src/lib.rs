//! Files for tutti.
