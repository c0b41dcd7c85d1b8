//! A front end of Jupyter: the kernel as it installs itself, started on ports of its own.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use jupyter_protocol::messaging::{
    ExecuteReply, ExecuteRequest, InterruptRequest, JupyterMessage, JupyterMessageContent, KernelInfoRequest, ReplyStatus,
    ShutdownRequest, Stdio as Name,
};
use jupyter_protocol::{ConnectionInfo, ExecutionState, Transport};
use jupyter_zmq_client::{
    ClientControlConnection, ClientIoPubConnection, ClientShellConnection, ClientStdinConnection,
    create_client_control_connection, create_client_iopub_connection, create_client_shell_connection_with_identity,
    create_client_stdin_connection_with_identity, peer_identity_for_session,
};
use serde_json::Value;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_tutti-jupyter");

/// The prelude as the tests' profile builds it, in the folder of build products.
pub fn library() -> &'static Path {
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

/// Ports for a kernel, of which no two notebooks get the same. They lie below those that the system gives to connections, of which any
/// could take one before the kernel does.
pub fn free_ports() -> [u16; 5] {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + u16::try_from(std::process::id() % 200).unwrap() * 100;
    std::array::from_fn(|_| {
        let next = || first + TAKEN.fetch_add(1, Ordering::Relaxed);
        std::iter::repeat_with(next).find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok()).unwrap()
    })
}

/// A kernel's process; it ends with this.
pub struct Kernel {
    process: Child,
    connection: ConnectionInfo,
    folder: tempfile::TempDir,
}

pub struct Notebook {
    kernel: Kernel,
    pub shell: ClientShellConnection,
    pub iopub: ClientIoPubConnection,
    pub control: ClientControlConnection,
    pub stdin: ClientStdinConnection,
}

/// What came of a cell.
#[derive(Debug, Default)]
pub struct Ran {
    pub outputs: Vec<JupyterMessageContent>,
    pub reply: ExecuteReply,
    pub seconds: f64,
}

impl Ran {
    pub fn text(&self, name: Name) -> String {
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

    pub fn result(&self) -> Option<String> {
        let value = |output: &JupyterMessageContent| match output {
            JupyterMessageContent::ExecuteResult(result) => Some(serde_json::to_value(&result.data).unwrap()),
            _ => None,
        };
        self.outputs.iter().find_map(value).map(|data| plain(&data["text/plain"]))
    }

    /// Name and text of the error.
    pub fn error(&self) -> Option<(String, String)> {
        self.outputs.iter().find_map(|output| match output {
            JupyterMessageContent::ErrorOutput(error) => Some((error.ename.clone(), error.evalue.clone())),
            _ => None,
        })
    }

    pub fn ok(self) -> Self {
        assert_eq!(self.reply.status, ReplyStatus::Ok, "{self:?}");
        self
    }

    pub fn failed(self, name: &str) -> Self {
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

impl Kernel {
    pub fn start(ports: [u16; 5]) -> Self {
        let library = library();
        let folder = tempfile::tempdir().unwrap();
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
        let process = command.spawn().unwrap();
        Self { process, connection, folder }
    }

    /// Once it is there.
    pub async fn connect(self) -> Notebook {
        let connection = &self.connection;
        let identity = peer_identity_for_session("tests").unwrap();
        let mut shell = create_client_shell_connection_with_identity(connection, "tests", identity.clone()).await.unwrap();
        let stdin = create_client_stdin_connection_with_identity(connection, "tests", identity).await.unwrap();
        let iopub = create_client_iopub_connection(connection, "", "tests").await.unwrap();
        let control = create_client_control_connection(connection, "tests").await.unwrap();
        shell.send(KernelInfoRequest {}.into()).await.unwrap();
        let info = shell.read().await.unwrap();
        let JupyterMessageContent::KernelInfoReply(info) = info.content else { panic!("{info:?}") };
        assert_eq!(info.language_info.name, "rust");
        let mut notebook = Notebook { kernel: self, shell, iopub, control, stdin };
        // The subscription is there once something comes.
        notebook.run("();").await.ok();
        notebook
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Notebook {
    pub async fn open() -> Self {
        Kernel::start(free_ports()).connect().await
    }

    pub fn folder(&self) -> &Path {
        self.kernel.folder.path()
    }

    /// Another client of the same kernel.
    pub async fn client(&self, name: &str) -> ClientShellConnection {
        let identity = peer_identity_for_session(name).unwrap();
        create_client_shell_connection_with_identity(&self.kernel.connection, name, identity).await.unwrap()
    }

    pub async fn send(&mut self, code: &str) -> JupyterMessage {
        let request: JupyterMessage = ExecuteRequest::new(code.to_owned()).into();
        self.shell.send(request.clone()).await.unwrap();
        request
    }

    pub async fn run(&mut self, code: &str) -> Ran {
        let started = Instant::now();
        let request = self.send(code).await;
        let mut ran = self.outputs(&request).await;
        ran.seconds = started.elapsed().as_secs_f64();
        ran
    }

    /// Until the kernel is idle after the request.
    pub async fn outputs(&mut self, request: &JupyterMessage) -> Ran {
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
    pub async fn interrupt_at(&mut self, word: &str, code: &str) -> (Ran, f64) {
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

    pub async fn close(mut self) {
        self.control.send(ShutdownRequest { restart: false }.into()).await.unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        while self.kernel.process.try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the kernel does not end");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
