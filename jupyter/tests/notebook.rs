//! The kernel as a front end of Jupyter meets it, over its sockets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use jupyter_protocol::messaging::{
    CompleteRequest, ExecuteReply, ExecuteRequest, InspectRequest, InterruptRequest, JupyterMessage, JupyterMessageContent,
    KernelInfoRequest, ReplyStatus, ShutdownRequest, Stdio as Name,
};
use jupyter_protocol::{ConnectionInfo, ExecutionState, Transport};
use jupyter_zmq_client::{
    ClientControlConnection, ClientIoPubConnection, ClientShellConnection, create_client_control_connection,
    create_client_iopub_connection, create_client_shell_connection_with_identity, peek_ports_with_listeners,
    peer_identity_for_session,
};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tutti-jupyter");

/// The prelude as the tests' profile builds it, in the folder of build products.
fn library() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("notebook");
        let library = folder.join("library");
        let installed = Command::new(PROGRAM)
            .args(["install", "--profile", "dev", "--prefix"])
            .arg(&folder)
            .env("TUTTI_JUPYTER_LIBRARY", &library)
            .status()
            .unwrap();
        assert!(installed.success());
        library
    })
}

struct Notebook {
    kernel: Child,
    shell: ClientShellConnection,
    iopub: ClientIoPubConnection,
    control: ClientControlConnection,
    folder: tempfile::TempDir,
}

/// What came of a cell.
#[derive(Debug, Default)]
struct Ran {
    outputs: Vec<JupyterMessageContent>,
    reply: ExecuteReply,
    seconds: f64,
}

impl Ran {
    fn text(&self, name: Name) -> String {
        let text = |output: &JupyterMessageContent| match output {
            JupyterMessageContent::StreamContent(stream)
                if std::mem::discriminant(&stream.name) == std::mem::discriminant(&name) =>
            {
                Some(stream.text.clone())
            }
            _ => None,
        };
        self.outputs.iter().filter_map(text).collect()
    }

    fn result(&self) -> Option<String> {
        let value = |output: &JupyterMessageContent| match output {
            JupyterMessageContent::ExecuteResult(result) => Some(serde_json::to_value(&result.data).unwrap()),
            _ => None,
        };
        self.outputs.iter().find_map(value).map(|data| plain(&data["text/plain"]))
    }

    /// Name and text of the error.
    fn error(&self) -> Option<(String, String)> {
        self.outputs.iter().find_map(|output| match output {
            JupyterMessageContent::ErrorOutput(error) => Some((error.ename.clone(), error.evalue.clone())),
            _ => None,
        })
    }

    fn ok(self) -> Self {
        assert_eq!(self.reply.status, ReplyStatus::Ok, "{self:?}");
        self
    }

    fn failed(self, name: &str) -> Self {
        assert_eq!(self.reply.status, ReplyStatus::Error, "{self:?}");
        assert_eq!(self.error().map(|(name, _)| name).as_deref(), Some(name), "{self:?}");
        self
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Array(lines) => lines.iter().filter_map(Value::as_str).collect(),
        other => other.as_str().unwrap_or_default().to_owned(),
    }
}

impl Notebook {
    async fn open() -> Self {
        let library = library();
        let folder = tempfile::tempdir().unwrap();
        let (ports, listeners) = peek_ports_with_listeners("127.0.0.1".parse().unwrap(), 5).await.unwrap();
        let connection = ConnectionInfo {
            ip: "127.0.0.1".into(),
            transport: Transport::TCP,
            shell_port: ports[0],
            iopub_port: ports[1],
            stdin_port: ports[2],
            control_port: ports[3],
            hb_port: ports[4],
            key: "a key".into(),
            signature_scheme: "hmac-sha256".into(),
            kernel_name: None,
        };
        let file = folder.path().join("connection.json");
        std::fs::write(&file, serde_json::to_string(&connection).unwrap()).unwrap();
        drop(listeners);
        let spec: Value = {
            let path = library.parent().unwrap().join("share/jupyter/kernels/tutti/kernel.json");
            serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
        };
        assert_eq!(spec["interrupt_mode"], "message");
        let mut command = Command::new(spec["argv"][0].as_str().unwrap());
        command.arg("run").arg(&file).stdin(Stdio::null()).current_dir(folder.path());
        for (name, value) in spec["env"].as_object().unwrap() {
            command.env(name, value.as_str().unwrap());
        }
        let kernel = command.spawn().unwrap();
        let identity = peer_identity_for_session("tests").unwrap();
        let mut shell = create_client_shell_connection_with_identity(&connection, "tests", identity).await.unwrap();
        let iopub = create_client_iopub_connection(&connection, "", "tests").await.unwrap();
        let control = create_client_control_connection(&connection, "tests").await.unwrap();
        shell.send(KernelInfoRequest {}.into()).await.unwrap();
        let info = shell.read().await.unwrap();
        let JupyterMessageContent::KernelInfoReply(info) = info.content else { panic!("{info:?}") };
        assert_eq!(info.language_info.name, "rust");
        let mut notebook = Self { kernel, shell, iopub, control, folder };
        // The subscription is there once something comes.
        notebook.run("();").await.ok();
        notebook
    }

    async fn send(&mut self, code: &str) -> JupyterMessage {
        let request: JupyterMessage = ExecuteRequest::new(code.to_owned()).into();
        self.shell.send(request.clone()).await.unwrap();
        request
    }

    async fn run(&mut self, code: &str) -> Ran {
        let started = Instant::now();
        let request = self.send(code).await;
        let mut ran = self.outputs(&request).await;
        ran.seconds = started.elapsed().as_secs_f64();
        ran
    }

    /// Until the kernel is idle after the request.
    async fn outputs(&mut self, request: &JupyterMessage) -> Ran {
        let mut ran = Ran::default();
        loop {
            let message = tokio::time::timeout(Duration::from_secs(300), self.iopub.read()).await.expect("an answer").unwrap();
            if message.parent_header.as_ref().is_none_or(|p| p.msg_id != request.header.msg_id) {
                continue;
            }
            match message.content {
                JupyterMessageContent::Status(status) if status.execution_state == ExecutionState::Idle => break,
                JupyterMessageContent::Status(_) | JupyterMessageContent::ExecuteInput(_) => {}
                content => ran.outputs.push(content),
            }
        }
        let reply = self.shell.read().await.unwrap();
        let JupyterMessageContent::ExecuteReply(reply) = reply.content else { panic!("{reply:?}") };
        ran.reply = reply;
        ran
    }

    /// Runs a cell and interrupts it once it has printed the word.
    async fn interrupt_at(&mut self, word: &str, code: &str) -> (Ran, f64) {
        let request = self.send(code).await;
        let mut before = Vec::new();
        loop {
            let message = tokio::time::timeout(Duration::from_secs(300), self.iopub.read()).await.expect("an answer").unwrap();
            let text = format!("{:?}", message.content);
            before.push(message.content);
            if text.contains(word) {
                break;
            }
        }
        let started = Instant::now();
        self.control.send(InterruptRequest {}.into()).await.unwrap();
        let mut ran = self.outputs(&request).await;
        let seconds = started.elapsed().as_secs_f64();
        before.append(&mut ran.outputs);
        ran.outputs = before;
        (ran, seconds)
    }

    async fn close(mut self) {
        self.control.send(ShutdownRequest { restart: false }.into()).await.unwrap();
        let until = Instant::now() + Duration::from_secs(10);
        while self.kernel.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the kernel does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Notebook {
    fn drop(&mut self) {
        let _ = self.kernel.kill();
        let _ = self.kernel.wait();
    }
}

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
    notebook.close().await;
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

#[tokio::test]
async fn dependencies_completion_and_inspection() {
    let mut notebook = Notebook::open().await;
    let own = notebook.folder.path().join("own");
    std::fs::create_dir_all(own.join("src")).unwrap();
    std::fs::write(own.join("Cargo.toml"), "[package]\nname = \"own\"\nversion = \"1.0.0\"\nedition = \"2024\"\n").unwrap();
    std::fs::write(own.join("src/lib.rs"), "/// Twice the number.\npub fn twice(x: f64) -> f64 { 2.0 * x }\n").unwrap();
    notebook.run(&format!(":dep own = {{ path = {:?} }}", own.display().to_string())).await.ok();
    notebook.run("let four = own::twice(2.0);").await.ok();
    assert_eq!(notebook.run("four").await.ok().result().as_deref(), Some("4.0"));

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
