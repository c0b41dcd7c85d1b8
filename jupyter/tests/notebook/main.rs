//! The kernel as a front end of Jupyter meets it, over its sockets.

mod front_end;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use front_end::{Kernel, Notebook, PROGRAM, free_ports, library};
use jupyter_protocol::messaging::{
    CompleteRequest, ExecuteRequest, InputReply, InspectRequest, InterruptRequest, JupyterMessage, JupyterMessageContent,
    KernelInfoRequest, ReplyStatus, Stdio as Name,
};

#[tokio::test]
async fn values_text_and_failures() {
    let mut notebook = Notebook::open().await;
    let ran = notebook.run("simulate(\"three_clusters\")?").await.ok();
    let kinds: Vec<&str> = ran.outputs.iter().map(JupyterMessageContent::message_type).collect();
    assert_eq!(kinds, ["display_data"], "a first cell that ends in `?` is shown as any other");
    assert_eq!(notebook.run("1 + 1").await.ok().result().as_deref(), Some("2"));
    let ran = notebook.run("let v = vec![1.5, 2.5];\nfor x in &v { println!(\"{x}\"); }").await.ok();
    assert_eq!((ran.text(Name::Stdout).as_str(), ran.result()), ("1.5\n2.5\n", None));
    assert_eq!(notebook.run("v.iter().sum::<f64>()").await.ok().result().as_deref(), Some("4.0"));

    let ran = notebook.run("let n: i32 = \"a\";").await.failed("compile error");
    assert!(ran.error().unwrap().1.contains("mismatched types"), "{ran:?}");
    let ran = notebook.run("eprintln!(\"a note\");\nlet n: u8 = \"300\".parse::<u8>()?;").await.failed("error");
    assert!(ran.error().unwrap().1.contains("number too large"), "{ran:?}");
    assert_eq!(ran.text(Name::Stderr), "a note\n", "the error is not printed too");
    let ran = notebook.run("println!(\"before\");\nlet w = v[7];").await.failed("panic");
    assert!(ran.error().unwrap().1.contains("index out of bounds"), "{ran:?}");
    assert_eq!((ran.text(Name::Stdout).as_str(), ran.text(Name::Stderr).as_str()), ("before\n", ""));
    // A panic that the cell catches is none of the notebook's business.
    notebook.run("let caught = std::panic::catch_unwind(|| { if true { panic!(\"x\") } }).is_err();").await.ok();
    assert_eq!(notebook.run("(v.len(), caught)").await.ok().result().as_deref(), Some("(2, true)"), "variables live on");

    let ran = notebook.run("std::process::abort();").await.failed("process ended");
    assert!(ran.error().unwrap().1.contains("all variables are lost"), "{ran:?}");
    notebook.run("v.len()").await.failed("compile error");
    assert_eq!(notebook.run("simulate(\"three_clusters\")?.n_cells() > 10").await.ok().result().as_deref(), Some("true"));

    // A restart, which is an end and a start to the kernel, leaves no process behind, whatever its cells still do.
    notebook.run("std::thread::spawn(|| loop { std::thread::sleep(std::time::Duration::from_millis(10)) });").await.ok();
    let runner = notebook.run("std::process::id()").await.ok().result().unwrap();
    let runs = || std::fs::read_to_string(format!("/proc/{runner}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    assert!(runs() || cfg!(not(target_os = "linux")));
    notebook.close().await;
    let until = Instant::now() + Duration::from_secs(30);
    while runs() {
        assert!(Instant::now() < until, "process {runner} goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn output_comes_while_the_cell_runs() {
    let mut notebook = Notebook::open().await;
    let code = "use std::io::Write;\nfor i in 0..3 { print!(\"{i} \"); std::io::stdout().flush()?; \
                std::thread::sleep(std::time::Duration::from_millis(400)); }";
    let request = notebook.send(code).await;
    let mut times = Vec::new();
    while times.len() < 3 {
        let message = notebook.iopub.read().await.unwrap();
        if let JupyterMessageContent::StreamContent(stream) = message.content {
            assert_eq!(stream.text, format!("{} ", times.len()), "text without an end of line comes at once");
            times.push(Instant::now());
        }
    }
    assert!(times[2] - times[0] > Duration::from_millis(500), "one after the other");
    assert_eq!(notebook.outputs(&request).await.reply.status, ReplyStatus::Ok);

    // Several outputs of a kind in one cell, in order with text.
    let code = "cells.obs_table()?.evcxr_display();\nprintln!(\"between\");\ncells.evcxr_display();";
    notebook.run("let cells = simulate(\"three_clusters\")?;").await.ok();
    let ran = notebook.run(code).await.ok();
    let kinds: Vec<&str> = ran.outputs.iter().map(JupyterMessageContent::message_type).collect();
    assert_eq!(kinds, ["display_data", "stream", "display_data"]);

    // A cell may use up a variable by its last expression, and boxes and references are what they hold.
    notebook
        .run("let z = pca(&cells)?; let (again, map) = (z.clone(), std::collections::BTreeMap::from([(1, 'a')]));")
        .await
        .ok();
    for code in
        ["umap_with(z).n_epochs(5).run()?", "umap_with(again).n_epochs(5).run()?.plot()", "Box::new(cells.obs(\"batch\")?)"]
    {
        let ran = notebook.run(code).await.ok();
        assert!(matches!(ran.outputs[..], [JupyterMessageContent::DisplayData(_)]), "{code}: {ran:?}");
    }
    assert_eq!(notebook.run("map").await.ok().result().as_deref(), Some("{1: 'a'}"));

    // A plot in a variable is not used up by drawing it.
    notebook.run("let plot = pca(&cells)?.plot();").await.ok();
    for _ in 0..2 {
        let ran = notebook.run("plot.color_by(\"cell_type\")").await.ok();
        assert!(matches!(ran.outputs[..], [JupyterMessageContent::DisplayData(_)]), "{ran:?}");
    }
    notebook.close().await;
}

#[tokio::test]
async fn an_interrupt_stops_and_keeps() {
    let mut notebook = Notebook::open().await;
    notebook.run("let cells = simulate(\"three_clusters\")?;").await.ok();
    let (ran, seconds) = notebook.interrupt_at("loss", "let model = concord(&cells).no_batch().n_epochs(100000).train()?;").await;
    let ran = ran.failed("interrupted");
    assert!(ran.error().unwrap().1.contains("trained so far"), "{ran:?}");
    assert!(seconds < 10.0, "it goes on: {seconds} s");
    let ran = notebook.run("model.embed(&cells)?.n_cells() == cells.n_cells()").await.ok();
    assert_eq!(ran.result().as_deref(), Some("true"), "the model trained so far");

    // What has nothing to keep ends too, and the next stop is as soft as the first.
    let big = "let mut state = 1u32;\nlet number = || { state = state.wrapping_mul(1664525).wrapping_add(1013904223); (state >> 8) as f32 };\n\
               let array = tutti_notebook::ndarray::Array2::from_shape_simple_fn((40000, 20), number);\n\
               let big: Embedding = Embedding::from_array(\"big\", array, \"euclidean\")?;";
    notebook.run(&format!("let big: Embedding = {{ {big} big }};")).await.ok();
    for call in ["umap(&big)?", "leiden(&big)?"] {
        let code = format!(
            "println!(\"{{}}gun\", \"be\");\nstd::thread::sleep(std::time::Duration::from_millis(200));\nlet done = {call};"
        );
        let (ran, seconds) = notebook.interrupt_at("begun", &code).await;
        let ran = ran.failed("interrupted");
        assert_eq!(ran.error().unwrap().1, "stopped by the user before there was a result");
        // Not a measurement: how soon it ends where nothing else runs is in benches/results/notebook.md.
        assert!(seconds < 10.0, "{call} goes on for {seconds} s");
        println!("{call} stops within {seconds:.2} s");
    }
    assert_eq!(
        notebook.run("(big.n_cells(), model.embed(&cells)?.n_cells())").await.ok().result().as_deref(),
        Some("(40000, 1000)")
    );

    // What waits behind a failed cell is not run; what is sent later is.
    let (first, second) = (notebook.send("let n: u8 = \"x\".parse()?;").await, notebook.send("let late = 1;").await);
    assert_eq!(notebook.outputs(&first).await.reply.status, ReplyStatus::Error);
    assert_eq!(notebook.outputs(&second).await.reply.status, ReplyStatus::Aborted);
    notebook.run("late").await.failed("compile error");

    // A cell that does not listen is ended by the second interrupt.
    let request = notebook.send("println!(\"begun\"); loop { std::thread::sleep(std::time::Duration::from_millis(50)); }").await;
    while !matches!(notebook.iopub.read().await.unwrap().content, JupyterMessageContent::StreamContent(_)) {}
    notebook.control.send(InterruptRequest {}.into()).await.unwrap();
    while !matches!(notebook.iopub.read().await.unwrap().content, JupyterMessageContent::StreamContent(_)) {}
    notebook.control.send(InterruptRequest {}.into()).await.unwrap();
    let ran = notebook.outputs(&request).await.failed("interrupted");
    assert!(ran.error().unwrap().1.contains("variables are lost"), "{ran:?}");
    assert_eq!(notebook.run("1").await.ok().result().as_deref(), Some("1"));
    notebook.close().await;
}

/// Each cell is a library of its own: were candle in each, their counters of tensors would give the same number twice, and the gradient
/// of one variable would be taken for that of another.
#[tokio::test]
async fn tensors_of_different_cells_train_together() {
    let mut notebook = Notebook::open().await;
    notebook.run("use tutti_notebook::candle_core::{Device, Tensor, Var};").await.ok();
    notebook.run("let a: Var = Var::new(&[3f32], &Device::Cpu)?; let first: String = format!(\"{:?}\", a.id());").await.ok();
    notebook.run("let b: Var = Var::new(&[5f32], &Device::Cpu)?; let second: String = format!(\"{:?}\", b.id());").await.ok();
    assert_eq!(notebook.run("first != second").await.ok().result().as_deref(), Some("true"));
    let code = "let gradients = ((a.as_tensor() * b.as_tensor())? + b.as_tensor())?.backward()?;\n\
                let by_a: Vec<f32> = gradients.get(&a).unwrap().to_vec1()?; let by_b: Vec<f32> = gradients.get(&b).unwrap().to_vec1()?;";
    // The gradients themselves are no variable of the notebook's.
    notebook.run(&format!("let (by_a, by_b): (Vec<f32>, Vec<f32>) = {{ {code} (by_a, by_b) }};")).await.ok();
    // d(ab + b) = b da + (a + 1) db.
    assert_eq!(notebook.run("(by_a, by_b)").await.ok().result().as_deref(), Some("([5.0], [4.0])"));
    notebook.close().await;
}

/// What a cell reads of standard input is at its end at once, for the programs that it starts too, and nothing is taken from the cells after it.
#[tokio::test]
async fn standard_input_is_empty_and_questions_are_asked() {
    let mut notebook = Notebook::open().await;
    let code = "let mut line = String::new();\nlet n: usize = std::io::stdin().read_line(&mut line)?;";
    notebook.run(code).await.ok();
    let code = "let read = std::process::Command::new(\"cat\").output()?.stdout.len();";
    notebook.run(code).await.ok();
    assert_eq!(notebook.run("(n, line, read)").await.ok().result().as_deref(), Some("(0, \"\", 0)"));

    // A front end that allows no questions, as nbclient, gets an error.
    let code = "let name = input(\"which column: cell_type (or 100 %)?\")?;";
    let ran = notebook.run(code).await.failed("error");
    assert!(ran.error().unwrap().1.contains("`which column: cell_type (or 100 %)?` cannot be asked here"), "{ran:?}");

    let asking = |code: &str| -> JupyterMessage {
        let mut request = ExecuteRequest::new(code.to_owned());
        request.allow_stdin = true;
        request.into()
    };
    let request = asking(&format!("{code}\nlet length = name.len();"));
    notebook.shell.send(request.clone()).await.unwrap();
    let asked = tokio::time::timeout(Duration::from_secs(60), notebook.stdin.read()).await.expect("a question").unwrap();
    let JupyterMessageContent::InputRequest(question) = &asked.content else { panic!("{asked:?}") };
    assert_eq!(question.prompt, "which column: cell_type (or 100 %)?");
    let answer = InputReply { value: " batch: µ ".into(), ..Default::default() };
    notebook.stdin.send(JupyterMessage::new(answer, Some(&asked))).await.unwrap();
    notebook.outputs(&request).await.ok();
    assert_eq!(notebook.run("(name, length)").await.ok().result().as_deref(), Some("(\" batch: µ \", 11)"));

    // Stop is an answer too.
    let request = asking("let other = input(\"and now?\")?;");
    notebook.shell.send(request.clone()).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), notebook.stdin.read()).await.expect("a question").unwrap();
    let pressed = Instant::now();
    notebook.control.send(InterruptRequest {}.into()).await.unwrap();
    let ran = notebook.outputs(&request).await.failed("interrupted");
    assert!(pressed.elapsed() < Duration::from_secs(10), "{:?}", pressed.elapsed());
    assert_eq!(ran.error().unwrap().1, "stopped by the user instead of an answer to `and now?`");
    assert_eq!(notebook.run("length").await.ok().result().as_deref(), Some("11"), "variables live on");
    notebook.close().await;
}

#[tokio::test]
async fn dependencies_completion_and_inspection() {
    let mut notebook = Notebook::open().await;
    // A crate of the user's, added and used in one cell, and in the next beside the prelude.
    let own = notebook.folder().join("own");
    std::fs::create_dir_all(own.join("src")).unwrap();
    std::fs::write(own.join("Cargo.toml"), "[package]\nname = \"own\"\nversion = \"1.0.0\"\nedition = \"2024\"\n").unwrap();
    std::fs::write(own.join("src/lib.rs"), "/// Twice the number.\npub fn twice(x: f64) -> f64 { 2.0 * x }\n").unwrap();
    let dep = format!(":dep own = {{ path = {:?} }}\nlet four = own::twice(2.0);", own.display().to_string());
    notebook.run(&dep).await.ok();
    let code = "let n = own::twice(simulate(\"three_clusters\")?.n_cells() as f64);\n(four, n)";
    assert_eq!(notebook.run(code).await.ok().result().as_deref(), Some("(4.0, 2000.0)"));

    // One that there is not leaves the notebook as it was.
    let none = format!(":dep none = {{ path = {:?} }}\nlet five = 5;", own.with_file_name("none").display().to_string());
    let ran = notebook.run(&none).await;
    assert_eq!(ran.reply.status, ReplyStatus::Error, "{ran:?}");
    let text = ran.error().unwrap().1;
    assert!(text.contains("none") && text.contains("Cargo.toml") && text.lines().count() == 1, "{text}");
    assert_eq!(notebook.run("own::twice(four)").await.ok().result().as_deref(), Some("8.0"));
    notebook.run("five").await.failed("compile error");

    let code = "let é = 1; simul";
    let asked = CompleteRequest { code: code.into(), cursor_pos: code.chars().count() };
    notebook.shell.send(asked.into()).await.unwrap();
    let JupyterMessageContent::CompleteReply(reply) = notebook.shell.read().await.unwrap().content else { panic!() };
    assert!(reply.matches.iter().any(|m| m.starts_with("simulate")), "{reply:?}");
    assert_eq!((reply.cursor_start, reply.cursor_end), (11, 16));

    notebook.run("let cells = simulate(\"three_clusters\")?;").await.ok();
    let asked = CompleteRequest { code: "cells.n_ce".into(), cursor_pos: 10 };
    notebook.shell.send(asked.into()).await.unwrap();
    let JupyterMessageContent::CompleteReply(reply) = notebook.shell.read().await.unwrap().content else { panic!() };
    assert!(reply.matches.iter().any(|m| m.starts_with("n_cells")), "{reply:?}");

    let asked = InspectRequest { code: "simulate".into(), cursor_pos: 3, detail_level: None };
    notebook.shell.send(asked.into()).await.unwrap();
    let JupyterMessageContent::InspectReply(reply) = notebook.shell.read().await.unwrap().content else { panic!() };
    assert!(reply.found, "{reply:?}");
    notebook.close().await;
}

/// What `uninstall` and `doctor` find, of a prelude and kernels that are made up.
#[test]
fn a_kernel_is_removed_wherever_it_was_registered() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (library, user) = (at("library"), at("jupyter"));
    let kernels = [at("one/share/jupyter/kernels/tutti"), at("two/share/jupyter/kernels/tutti"), user.join("kernels/tutti")];
    let spec = |library: &Path| {
        let env = serde_json::json!({ "TUTTI_JUPYTER_LIBRARY": library });
        serde_json::json!({ "argv": [PROGRAM, "run"], "display_name": "Rust (Tutti)", "language": "rust", "env": env })
            .to_string()
    };
    std::fs::create_dir_all(&library).unwrap();
    std::fs::write(library.join("kernels.json"), serde_json::to_string(&kernels[..2]).unwrap()).unwrap();
    for kernel in &kernels {
        std::fs::create_dir_all(kernel).unwrap();
        std::fs::write(kernel.join("kernel.json"), spec(&library)).unwrap();
    }
    // The second place was taken by another prelude since.
    std::fs::write(kernels[1].join("kernel.json"), spec(&at("another"))).unwrap();
    let run = |command: &str| {
        let mut program = Command::new(PROGRAM);
        let output = program.arg(command).env("TUTTI_JUPYTER_LIBRARY", &library).env("JUPYTER_DATA_DIR", &user).output().unwrap();
        (output.status.success(), String::from_utf8(output.stdout).unwrap())
    };
    let (well, said) = run("doctor");
    let line = |part: &str| said.lines().find(|l| l.contains(part)).unwrap_or_else(|| panic!("no {part} in {said}"));
    assert!(!well && line("cargo").starts_with("ok ") && line("  prelude  ").starts_with("missing "), "{said}");
    assert!(line(&kernels[0].display().to_string()).starts_with("ok "), "{said}");
    let taken = line(&kernels[1].display().to_string());
    assert!(taken.starts_with("missing ") && taken.ends_with(&format!("--prefix {}`", at("two").display())), "{said}");

    let (well, said) = run("uninstall");
    assert!(well && said.contains("it uses the prelude in"), "{said}");
    let there = [&kernels[0], &kernels[1], &kernels[2], &library].map(|path| path.exists());
    assert_eq!(there, [false, true, false, false], "{said}");
    let (_, said) = run("doctor");
    assert!(said.lines().any(|l| l.starts_with("missing") && l.ends_with("`tutti-jupyter install`")), "{said}");
}

/// `install` remembers where it registered the kernel, and `doctor` finds it there.
#[test]
fn what_was_installed_is_found() {
    let library = library();
    let kernel = library.parent().unwrap().join("share/jupyter/kernels/tutti");
    let remembered: Vec<PathBuf> = serde_json::from_str(&std::fs::read_to_string(library.join("kernels.json")).unwrap()).unwrap();
    assert_eq!(remembered, std::slice::from_ref(&kernel));
    let none = tempfile::tempdir().unwrap();
    let mut doctor = Command::new(PROGRAM);
    let output =
        doctor.arg("doctor").env("TUTTI_JUPYTER_LIBRARY", library).env("JUPYTER_DATA_DIR", none.path()).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.lines().any(|l| l.starts_with("ok ") && l.contains(&kernel.display().to_string())), "{said}");
}

#[tokio::test]
async fn a_port_that_is_in_use_is_waited_for() {
    let ports = free_ports();
    // The first that the kernel opens, and the last.
    let held = [ports[0], ports[4]].map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).unwrap());
    let kernel = Kernel::start(ports);
    tokio::time::sleep(Duration::from_secs(2)).await;
    drop(held);
    let mut notebook = kernel.connect().await;
    assert_eq!(notebook.run("1 + 1").await.ok().result().as_deref(), Some("2"));
    notebook.close().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_does_not_end_the_kernel() {
    let mut notebook = Notebook::open().await;
    let cell = notebook.send("std::thread::sleep(std::time::Duration::from_secs(2));").await;
    let mut client = notebook.client("a tab").await;
    client.send(KernelInfoRequest {}.into()).await.unwrap();
    client.send(ExecuteRequest::new("let left = 3;".to_owned()).into()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    drop(client);
    assert_eq!(notebook.outputs(&cell).await.reply.status, ReplyStatus::Ok);
    assert_eq!(notebook.run("left + 1").await.ok().result().as_deref(), Some("4"), "what was sent has run");
    notebook.close().await;
}
