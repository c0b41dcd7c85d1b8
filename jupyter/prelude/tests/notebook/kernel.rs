//! What a process says to the kernel: these tests start themselves as such a process.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tutti_notebook::*;

use super::{clusters, short};

/// Starts a test of this file, which is ignored otherwise, as the child of a kernel.
fn child(test: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("kernel::{test}"), "--ignored", "--nocapture"])
        .env("TUTTI_JUPYTER", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The frames that it writes, each with the time since the start.
fn frames(child: &mut Child) -> impl Iterator<Item = serde_json::Value> + use<> {
    let out = BufReader::new(child.stdout.take().unwrap());
    out.lines().map_while(|line| line.ok()).filter_map(|line| {
        // libtest writes the name of the test without a newline.
        let (_, frame) = line.split_once("\u{1}tutti ")?;
        Some(serde_json::from_str(frame).unwrap())
    })
}

#[test]
#[ignore = "run by `training_is_shown_in_place`"]
fn child_trains() {
    tutti_notebook_init();
    let cells = clusters();
    let model = short(&cells).n_epochs(60).train().unwrap();
    model.evcxr_display();
    show(&model.history());
    warn("a <b>warning</b>");
    let failed = std::panic::catch_unwind(|| panic!("cell {} is \"odd\"\nindeed", 3));
    assert!(failed.is_err());
    show(&cells.obs("batch").unwrap());
}

#[test]
fn training_is_shown_in_place() {
    let mut child = child("child_trains");
    let all: Vec<serde_json::Value> = frames(&mut child).collect();
    assert!(child.wait().unwrap().success());
    let id = all[0]["display"]["id"].as_str().unwrap();
    assert!(id.starts_with("progress-") && all[0]["display"]["update"] == false);
    let updates: Vec<&serde_json::Value> = all.iter().filter(|f| f["display"]["update"] == true).collect();
    assert!(updates.len() >= 2 && updates.iter().all(|f| f["display"]["id"] == id));
    let last = updates.last().unwrap()["display"]["data"]["text/plain"].as_str().unwrap();
    assert!(last.starts_with("concord: 60 epochs in "), "{last}");
    let plain = |frame: &serde_json::Value| frame["display"]["data"]["text/plain"].as_str().unwrap_or_default().to_owned();
    let of = |start: &str| all.iter().position(|f| plain(f).starts_with(start)).unwrap_or_else(|| panic!("no {start}"));
    assert!(of("concord model") < of("figure: training history"));
    assert!(all.iter().any(|f| f["warning"] == "a <b>warning</b>"));
    let panic = all.iter().find(|f| !f["panic"].is_null()).unwrap();
    assert_eq!(panic["panic"]["message"], "cell 3 is \"odd\"\nindeed");
    assert!(panic["panic"]["location"].as_str().unwrap().contains("kernel.rs:"));
    assert!(plain(all.last().unwrap()).starts_with("batch: 400 cells"), "the process lives on");
}

#[test]
#[ignore = "run by `the_last_value_of_a_cell_is_shown_in_its_richest_form`"]
fn child_ends_in_values() {
    let batch = clusters().obs("batch").unwrap();
    // As evcxr writes the end of a cell: first with the method, then by `{:?}` in the kernel's form.
    (1 + 1).evcxr_display();
    println!();
    let reference = &&batch;
    reference.evcxr_display();
    Box::new(batch.clone()).evcxr_display();
    println!("by the kernel: {:\u{1}<?}.", &batch);
    println!("by the user: {:.7?}.", &batch);
    vec![batch.clone()].evcxr_display();
    Some(2.5).evcxr_display();
}

#[test]
fn the_last_value_of_a_cell_is_shown_in_its_richest_form() {
    let mut child = child("child_ends_in_values");
    let lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok()).collect();
    assert!(child.wait().unwrap().success());
    let at = |line: &str| lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no {line} in {lines:#?}"));
    let shown: Vec<usize> = (0..lines.len()).filter(|i| lines[*i].contains("\u{1}tutti ")).collect();
    assert!(at("2") < shown[0] && shown.len() == 3, "{lines:#?}");
    assert!(lines[at(".")].len() == 1 && at(".") > shown[2], "the text of it is empty: {lines:#?}");
    assert!(lines.iter().any(|l| l.starts_with("by the user: batch: 400 cells")));
    assert!(lines.iter().any(|l| l.starts_with("[batch: 400 cells")), "parts of a value are text: {lines:#?}");
    assert!(at("Some(2.5)") > at("EVCXR_BEGIN_CONTENT text/plain"));
}

#[test]
#[ignore = "run by `stop_keeps_the_model`"]
fn child_is_stopped() {
    tutti_notebook_init();
    let cells = clusters();
    let model = short(&cells).n_epochs(100_000).train().unwrap();
    let z = model.embed(&cells).unwrap();
    show(&z);
    assert!(interrupted(), "what follows a training that was stopped runs, and a loop can ask");
    // What was asked for before does not stop the next training, and the next cell knows nothing of it.
    assert_eq!(short(&cells).n_epochs(1).train().unwrap().history().n_epochs(), 1);
    tutti_notebook_cell(-1);
    assert!(!interrupted());
}

#[cfg(unix)]
#[test]
fn stop_keeps_the_model() {
    let mut child = child("child_is_stopped");
    let id = child.id().to_string();
    let mut all = frames(&mut child);
    assert!(all.any(|f| f["display"]["data"]["text/plain"].as_str().is_some_and(|t| t.contains("epoch "))));
    let asked = Instant::now();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let told = all.find(|f| !f["interrupted"].is_null()).unwrap();
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    assert!(told["interrupted"].as_str().unwrap().starts_with("stopped by the user after "));
    let rest: Vec<serde_json::Value> = all.collect();
    assert!(rest[0]["display"]["data"]["text/plain"].as_str().unwrap().starts_with("X_concord: 400 cells"));
    assert!(child.wait().unwrap().success());
}

/// Presses stop so many milliseconds after the call began, sooner where it is over by then; what comes of it, once `is_stopped` says so. The limit is for
/// calls that do not look at the token at all, not for a busy machine.
fn stopped<T>(what: &str, after: u64, is_stopped: fn(&Result<T>) -> bool, mut call: impl FnMut() -> Result<T>) -> Result<T> {
    let press = |after: u64| {
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(after));
            let pressed = Instant::now();
            let pid = std::process::id().to_string();
            assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
            pressed
        })
    };
    for after in (0..10).map(|k| after >> k) {
        // What was asked for before, also too late, would stop this call.
        tutti_notebook_cell(-1);
        let presses = press(after);
        let outcome = call();
        let (ended, in_time) = (Instant::now(), interrupted());
        let pressed = presses.join().unwrap();
        if in_time && is_stopped(&outcome) {
            let took = ended - pressed;
            println!("{what} stops within {:.3} s", took.as_secs_f64());
            assert!(took < Duration::from_secs(10), "{what} goes on for {took:?}");
            return outcome;
        }
        while !interrupted() {
            std::thread::yield_now();
        }
    }
    panic!("{what} is over before it can be stopped, or does not stop");
}

#[test]
#[ignore = "run by `stop_ends_every_long_call`"]
fn child_is_stopped_in_every_call() {
    tutti_notebook_init();
    let points = |n: usize, d: usize| {
        let mut state = 1u32;
        let number = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32
        };
        Embedding::from_array(
            "z",
            ndarray::Array2::from_shape_simple_fn((n, d), {
                let mut n = number;
                move || n(())
            }),
            "euclidean",
        )
    };
    let z = points(60_000, 30).unwrap();
    let labels: Column = (0..60_000).map(|i| if i % 3 == 0 { "a" } else { "b" }).collect::<Vec<_>>().into();
    let small = clusters();
    let model = short(&small).quiet().train().unwrap();

    macro_rules! ends {
        ($what:literal, $call:expr) => {
            ends!($what, 200, $call)
        };
        ($what:literal, $after:literal, $call:expr) => {
            let error = stopped($what, $after, Result::is_err, || $call).err().map(|e| e.to_string());
            assert_eq!(error.as_deref(), Some("stopped by the user before there was a result"), $what);
        };
    }
    ends!("umap", umap(&z));
    ends!("leiden", leiden(&z));
    ends!("k_means", k_means(&z, 200));
    ends!("topology", topology_with(&z).max_points(3000).run());
    ends!("pseudotime", pseudotime(&z).root(0).run());
    ends!("transfer", transfer(&z, &labels, &z));
    ends!("simulate", simulate_with("splatter").n_cells(200_000).n_genes(3000).run());

    let big = simulate_with("five_clusters_two_batches").n_cells(30_000).n_genes(800).run().unwrap();
    let of_big = points(30_000, 30).unwrap().with_cells(&big).unwrap();
    let wide = concord(&big).batch("batch").n_epochs(1).set("encoder_dims", vec![400]).quiet().train().unwrap();
    ends!("pca", pca_with(&big).n_components(200).run());
    ends!("score", score(&big).label("cell_type").batch("batch").embedding(&of_big).run());
    ends!("attribution", wide.attribution(&big));
    ends!("preparation", 5, concord(&big).batch("batch").train());
    let barcoded = simulate_with("lineage").n_cells(30_000).n_genes(100).run().unwrap();
    let places = points(30_000, 30).unwrap().with_cells(&barcoded).unwrap();
    ends!("predict_fate", 20, predict_fate(&places).lineage("barcode").time("day").fate("cell_type").run());

    // What has something to keep keeps it.
    let few = simulate_with("lineage").n_cells(600).n_genes(60).run().unwrap();
    let kept = stopped("lcl", 3000, Result::is_ok, || lcl(&few).lineage("barcode").n_epochs(100_000).train()).unwrap();
    assert_eq!(kept.embed(&few).unwrap().n_cells(), 600);
    let (reference, query) = (clusters(), simulate_with("five_clusters_two_batches").n_cells(300).n_genes(100).run().unwrap());
    let named =
        stopped("annotate", 3000, Result::is_ok, || annotate(&reference, &query, "cell_type").n_steps(1_000_000).run()).unwrap();
    assert_eq!(named.labels().len(), 300);

    // All of it goes on as before.
    tutti_notebook_cell(-1);
    assert!(!interrupted() && umap_with(model.embed(&small).unwrap()).n_epochs(5).run().is_ok());
    println!("all were stopped");
}

#[cfg(unix)]
#[test]
fn stop_ends_every_long_call() {
    let mut child = child("child_is_stopped_in_every_call");
    let mut lines: Vec<String> = BufReader::new(child.stdout.take().unwrap()).lines().map_while(|line| line.ok()).collect();
    lines.retain(|line| line.contains("stop") || line.contains("panic"));
    assert!(child.wait().unwrap().success() && lines.iter().any(|l| l == "all were stopped"), "{lines:#?}");
    // Of lcl and annotate, and of each of the others.
    let told = |text: &str| lines.iter().filter(|l| l.contains("\"interrupted\"") && l.contains(text)).count();
    assert_eq!(told("the model is as it was trained so far"), 2, "{lines:#?}");
    assert!(told("before there was a result") >= 12, "{lines:#?}");
}
