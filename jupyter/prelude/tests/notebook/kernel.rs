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
    assert!(interrupted());
    // What was asked for before does not stop the next call.
    short(&cells).n_epochs(1).train().unwrap();
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
