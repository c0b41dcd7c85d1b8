//! Mutates files and reads them: `fuzz TARGET SECONDS SEED FILE...`, where TARGET is `data` (any format that `read` takes, by the
//! file's ending) or `model`. Each candidate is written to disk before it is read, so that a crash, in the HDF5 library too, leaves its
//! input behind in `target/fuzz`. Exits with 1 after a panic.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tutti::rng::{Rng, Stream};
use tutti::systems::concord::Concord;
use tutti_io::{ReadOptions, read};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed, files @ ..] = &arguments[..] else {
        eprintln!("fuzz TARGET SECONDS SEED FILE...");
        std::process::exit(2);
    };
    let (seconds, seed) = (seconds.parse().unwrap_or(10), seed.parse().unwrap_or(0));
    let corpus: Vec<(PathBuf, Vec<u8>)> =
        files.iter().filter_map(|f| std::fs::read(f).ok().map(|bytes| (PathBuf::from(f), bytes))).collect();
    let folder = Path::new("target/fuzz");
    if corpus.is_empty() || std::fs::create_dir_all(folder).is_err() {
        eprintln!("no file to start from, or no folder target/fuzz");
        std::process::exit(2);
    }
    std::panic::set_hook(Box::new(|_| {}));
    let (mut runs, mut accepted, mut panics) = (0u64, 0u64, 0u64);
    let end = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < end {
        let mut stream = Rng::new(seed).stream("fuzz", 0, runs);
        let (path, bytes) = &corpus[stream.below(corpus.len())];
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let candidate = folder.join(format!("candidate-{target}-{seed}.{extension}"));
        if std::fs::write(&candidate, mutated(bytes, &mut stream)).is_err() {
            break;
        }
        runs += 1;
        match std::panic::catch_unwind(|| accepts(target, &candidate)) {
            Ok(true) => accepted += 1,
            Ok(false) => {}
            Err(_) => {
                panics += 1;
                let kept = folder.join(format!("panic-{target}-{seed}-{runs}.{extension}"));
                let _ = std::fs::copy(&candidate, &kept);
                println!("panic: {}", kept.display());
            }
        }
    }
    println!("{target}: {runs} files in {seconds} s, {accepted} read, {} refused, {panics} panics", runs - accepted - panics);
    std::process::exit(i32::from(panics > 0));
}

fn accepts(target: &str, path: &Path) -> bool {
    match target {
        "model" => Concord::load(path, &candle_core::Device::Cpu).is_ok(),
        _ => read(path, &ReadOptions::default())
            .and_then(|data| Ok(tutti_io::summarise(&*data.x().source()?).is_ok()))
            .unwrap_or(false),
    }
}

/// One to eight changes: a byte, a run of bytes, a number, a cut, a repeated or moved piece.
fn mutated(bytes: &[u8], stream: &mut Stream) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for _ in 0..1 + stream.below(8) {
        if out.is_empty() {
            break;
        }
        // Headers are where formats break: half of the changes fall into the first kilobytes.
        let span = if stream.bernoulli(0.5) { out.len().min(4096) } else { out.len() };
        let at = stream.below(span);
        match stream.below(6) {
            0 => out[at] ^= 1 << stream.below(8),
            1 => out[at] = stream.next_u64() as u8,
            2 => {
                let special = [0u64, 1, u64::MAX, i64::MAX as u64, 1 << 31, 1 << 40, 255][stream.below(7)];
                let n = (out.len() - at).min(1 << stream.below(4));
                out[at..at + n].copy_from_slice(&special.to_le_bytes()[..n]);
            }
            3 => out.truncate(at),
            4 => {
                let piece = out[at..(at + 1 + stream.below(64)).min(out.len())].to_vec();
                let to = stream.below(out.len());
                out.splice(to..to, piece);
            }
            _ => {
                let from = stream.below(out.len());
                let n = (1 + stream.below(64)).min(out.len() - from.max(at));
                out.copy_within(from..from + n, at);
            }
        }
    }
    out
}
