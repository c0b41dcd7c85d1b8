//! Mutates files and reads them: `fuzz TARGET SECONDS SEED FILE...`. Targets:
//!
//! - `data`: bytes of a file in any format that `read` takes, by its ending;
//! - `model`: bytes of a model file;
//! - `h5ad`: groups, datasets, values and attributes of an h5ad or 10x file, changed through the HDF5 library, so that the file stays
//!   sound as HDF5 and the changes reach our reader.
//!
//! A worker process does the reading. What makes it panic (our fault), die by a signal or read one file for over 20 seconds (the HDF5
//! library's, so far) is kept in `target/fuzz`, and the next worker goes on with the next seed. Exits with 1 after a panic.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdf5::types::VarLenUnicode;
use tutti::rng::{Rng, Stream};
use tutti::systems::concord::Concord;
use tutti_io::{ReadOptions, read};

const FOLDER: &str = "target/fuzz";
/// Set for workers.
const WORKER: &str = "TUTTI_FUZZ_WORKER";
/// Exit code of a worker that reads one file for too long.
const HANGS: i32 = 3;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [target, seconds, seed, files @ ..] = &arguments[..] else { return Err("fuzz TARGET SECONDS SEED FILE...".into()) };
    let (seconds, seed): (u64, u64) = (seconds.parse()?, seed.parse()?);
    std::fs::create_dir_all(FOLDER)?;
    if std::env::var_os(WORKER).is_some() {
        return work(target, seconds, seed, files);
    }
    supervise(target, seconds, seed, files)
}

/// Counts of one worker or of all.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    runs: u64,
    accepted: u64,
    panics: u64,
}

fn counts_file(target: &str, seed: u64) -> PathBuf {
    Path::new(FOLDER).join(format!("counts-{target}-{seed}"))
}

fn supervise(target: &str, seconds: u64, first_seed: u64, files: &[String]) -> Result<(), Failure> {
    let begin = Instant::now();
    let (mut all, mut deaths, mut hangs) = (Counts::default(), 0, 0);
    for seed in first_seed.. {
        let left = seconds.saturating_sub(begin.elapsed().as_secs());
        if left == 0 {
            break;
        }
        let numbers = [left.to_string(), seed.to_string()];
        let program = std::env::current_exe()?;
        let status = Command::new(program).arg(target).args(numbers).args(files).env(WORKER, "1").status()?;
        let text = std::fs::read_to_string(counts_file(target, seed)).unwrap_or_default();
        let numbers: Vec<u64> = text.split_whitespace().filter_map(|n| n.parse().ok()).collect();
        if let [runs, accepted, panics] = numbers[..] {
            all = Counts { runs: all.runs + runs, accepted: all.accepted + accepted, panics: all.panics + panics };
        }
        let what = match status.code() {
            Some(0) => continue,
            Some(HANGS) => {
                hangs += 1;
                "hang"
            }
            None => {
                deaths += 1;
                "death"
            }
            Some(code) => return Err(format!("a worker ended with {code}").into()),
        };
        for entry in std::fs::read_dir(FOLDER)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if let Some(rest) = name.strip_prefix(&format!("candidate-{target}-{seed}.")) {
                std::fs::copy(entry.path(), Path::new(FOLDER).join(format!("{what}-{target}-{seed}.{rest}")))?;
            }
        }
    }
    println!(
        "{target}: {} files in {seconds} s, {} read, {} refused, {} panics; the library died {deaths} times and hung {hangs} times",
        all.runs,
        all.accepted,
        all.runs.saturating_sub(all.accepted + all.panics),
        all.panics
    );
    std::process::exit(i32::from(all.panics > 0));
}

fn work(target: &str, seconds: u64, seed: u64, files: &[String]) -> Result<(), Failure> {
    let corpus: Vec<(PathBuf, Vec<u8>)> =
        files.iter().filter_map(|f| std::fs::read(f).ok().map(|bytes| (PathBuf::from(f), bytes))).collect();
    if corpus.is_empty() {
        return Err("no file to start from".into());
    }
    std::panic::set_hook(Box::new(|_| {}));
    let mut counts = Counts::default();
    let end = Instant::now() + Duration::from_secs(seconds);
    let count = Arc::new(AtomicU64::new(0));
    watch(count.clone());
    while Instant::now() < end {
        let mut stream = Rng::new(seed).stream("fuzz", 0, counts.runs);
        let (path, bytes) = &corpus[stream.below(corpus.len())];
        let extension = path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
        let candidate = Path::new(FOLDER).join(format!("candidate-{target}-{seed}.{extension}"));
        if target == "h5ad" {
            std::fs::write(&candidate, bytes)?;
            // A change that the library refuses leaves the file with the changes before it.
            let _ = restructured(&candidate, &mut stream);
        } else {
            std::fs::write(&candidate, mutated(bytes, &mut stream))?;
        }
        counts.runs += 1;
        count.store(counts.runs, Ordering::Relaxed);
        match std::panic::catch_unwind(|| accepts(target, &candidate)) {
            Ok(true) => counts.accepted += 1,
            Ok(false) => {}
            Err(_) => {
                counts.panics += 1;
                let kept = Path::new(FOLDER).join(format!("panic-{target}-{seed}-{}.{extension}", counts.runs));
                std::fs::copy(&candidate, &kept)?;
                println!("panic: {}", kept.display());
            }
        }
        let text = format!("{} {} {}", counts.runs, counts.accepted, counts.panics);
        std::fs::write(counts_file(target, seed), text)?;
    }
    Ok(())
}

/// Ends this process where the same file is read for over 20 seconds.
fn watch(count: Arc<AtomicU64>) {
    std::thread::spawn(move || {
        let mut before = 0;
        loop {
            std::thread::sleep(Duration::from_secs(20));
            let now = count.load(Ordering::Relaxed);
            if now == before && now > 0 {
                std::process::exit(HANGS);
            }
            before = now;
        }
    });
}

/// All groups and datasets below a group, by path.
fn paths(group: &hdf5::Group, prefix: &str, out: &mut Vec<String>) {
    for name in group.member_names().unwrap_or_default() {
        let path = format!("{prefix}/{name}");
        if let Ok(inner) = group.group(&name) {
            paths(&inner, &path, out);
        }
        out.push(path);
    }
}

/// One to three changes to what a file holds.
fn restructured(path: &Path, stream: &mut Stream) -> Result<(), Failure> {
    let file = hdf5::File::open_rw(path)?;
    let mut all = Vec::new();
    paths(&file, "", &mut all);
    for _ in 0..1 + stream.below(3) {
        let at = &all[stream.below(all.len())];
        let Ok(parent) = file.group(at.rsplit_once('/').map_or("/", |(p, _)| if p.is_empty() { "/" } else { p })) else {
            continue;
        };
        let name = at.rsplit('/').next().unwrap_or_default();
        match stream.below(6) {
            0 => parent.unlink(name)?,
            1 => {
                parent.unlink(name)?;
                replacement(&parent, name, stream)?;
            }
            2 | 3 => {
                // Numbers that point somewhere: offsets, places, codes.
                let dataset = file.dataset(at)?;
                if dataset.size() > 1 << 24 {
                    continue;
                }
                let mut values: Vec<i64> = dataset.read_raw()?;
                if values.is_empty() {
                    continue;
                }
                for _ in 0..1 + stream.below(3) {
                    let special = [-1, 0, 1, i64::MAX, i64::MIN, 1 << 31, 1 << 40, values.len() as i64];
                    let place = stream.below(values.len());
                    values[place] = special[stream.below(special.len())];
                }
                dataset.write_raw(&values)?;
            }
            _ => {
                let location: hdf5::Location = match file.group(at) {
                    Ok(group) => (*group).clone(),
                    Err(_) => (**file.dataset(at)?).clone(),
                };
                let names = location.attr_names()?;
                let known = ["shape", "encoding-type", "_index", "column-order", "h5sparse_format"].map(str::to_owned);
                let from = if names.is_empty() { &known[..] } else { &names };
                let name = &from[stream.below(from.len())];
                if location.attr(name).is_ok() {
                    location.delete_attr(name)?;
                }
                match stream.below(4) {
                    0 => {}
                    1 => {
                        let numbers = [-1i64, i64::MAX, 0, 3][..stream.below(5)].to_vec();
                        location.new_attr_builder().with_data(&numbers).create(name.as_str())?;
                    }
                    2 => {
                        let words =
                            ["csr_matrix", "csc_matrix", "array", "categorical", "dataframe", "nullable-integer", "dict", ""];
                        let word: VarLenUnicode = words[stream.below(words.len())].parse()?;
                        location.new_attr::<VarLenUnicode>().create(name.as_str())?.write_scalar(&word)?;
                    }
                    _ => {
                        let words: Vec<VarLenUnicode> = vec!["a".parse()?, "_index".parse()?];
                        location.new_attr_builder().with_data(&words).create(name.as_str())?;
                    }
                }
            }
        }
    }
    Ok(file.close()?)
}

/// A dataset or group of another kind than was there.
fn replacement(parent: &hdf5::Group, name: &str, stream: &mut Stream) -> Result<(), Failure> {
    let n = [0, 1, 3, 700, 2800][stream.below(5)];
    match stream.below(6) {
        0 => drop(parent.create_group(name)?),
        1 => drop(parent.new_dataset_builder().with_data(&vec![f64::NAN; n]).create(name)?),
        2 => drop(parent.new_dataset_builder().with_data(&vec![-1i8; n]).create(name)?),
        3 => drop(parent.new_dataset_builder().with_data(&vec![u64::MAX; n]).create(name)?),
        4 => {
            let words: Vec<VarLenUnicode> = (0..n).map(|_| "x".parse()).collect::<Result<_, _>>()?;
            drop(parent.new_dataset_builder().with_data(&words).create(name)?);
        }
        // Claims far more than the file holds.
        _ => drop(parent.new_dataset::<f32>().chunk((1000, 1000)).shape((1 << 30, 1 << 20)).create(name)?),
    }
    Ok(())
}

fn accepts(target: &str, path: &Path) -> bool {
    match target {
        "model" => Concord::load(path, &candle_core::Device::Cpu).is_ok(),
        _ => read(path, &ReadOptions::default())
            .and_then(|data| Ok(tutti::preprocess::summarise(&*data.x().source()?).is_ok()))
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
