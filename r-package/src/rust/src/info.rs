//! What this build is, for reports of defects.

use extendr_api::prelude::*;
use tutti::threads::Threads;

/// Version of the core, processors, devices, how it was built.
#[extendr]
fn rust_info() -> Robj {
    let features: Vec<&str> = [("avx2", cfg!(target_feature = "avx2")), ("avx512f", cfg!(target_feature = "avx512f"))]
        .into_iter()
        .filter_map(|(name, there)| there.then_some(name))
        .collect();
    List::from_pairs([
        ("core", Robj::from(env!("CARGO_PKG_VERSION"))),
        ("target", format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS).into()),
        ("optimised", (!cfg!(debug_assertions)).into()),
        ("target_features", features.into()),
        ("processors", (Threads::available() as i32).into()),
        ("cuda", cfg!(feature = "cuda").into()),
    ])
    .into()
}

extendr_module! {
    mod info;
    fn rust_info;
}
