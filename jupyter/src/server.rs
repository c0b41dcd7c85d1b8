//! The kernel as Jupyter sees it: requests in, replies and outputs out. One task owns all that is sent, so that messages of a cell keep
//! their order; cells run on a thread of their own.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jupyter_protocol::messaging::{
    CommInfoReply, ExecuteInput, ExecuteReply, ExecuteRequest, ExecuteResult, HistoryReply, InputRequest, InterruptReply,
    JupyterMessage, JupyterMessageContent, ReplyStatus, ShutdownReply, Status,
};
use jupyter_protocol::{ConnectionInfo, ExecutionCount};
use jupyter_zmq_client::{
    KernelIoPubConnection, RouterSendConnection, create_kernel_control_connection, create_kernel_heartbeat_connection,
    create_kernel_iopub_connection, create_kernel_shell_connection, create_kernel_stdin_connection,
};
use serde_json::json;
use tokio::sync::{mpsc, oneshot};

use crate::cell::{Cell, Shown};
use crate::error::Result;
use crate::event::Event;
use crate::library::Library;
use crate::place;
use crate::reply::{complete, inspect, kernel_info, reply_error};
use crate::session::{Answer, Outcome, Runner, Session};
use crate::sockets::{answer, forward, once_free};

/// How long a cell may take to stop before the user is told how to end it.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long the last words of a process that ended are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Serves one notebook until it is shut down.
///
/// # Errors
/// [`crate::error::Error::Jupyter`] for sockets that cannot be opened or break.
pub async fn serve(connection: &ConnectionInfo, library: Library) -> Result<()> {
    let name = format!("tutti-{}", std::process::id());
    let (shell, requests) = once_free(|| create_kernel_shell_connection(connection, &name)).await?.split();
    let (control, controls) = once_free(|| create_kernel_control_connection(connection, &name)).await?.split();
    let (stdin, answers) = once_free(|| create_kernel_stdin_connection(connection, &name)).await?.split();
    let iopub = once_free(|| create_kernel_iopub_connection(connection, &name)).await?;
    let mut heartbeat = once_free(|| create_kernel_heartbeat_connection(connection)).await?;
    tokio::spawn(async move { while heartbeat.single_heartbeat().await.is_ok() {} });

    let (to_kernel, inbox) = mpsc::unbounded_channel();
    forward(requests, to_kernel.clone(), Message::Shell);
    forward(controls, to_kernel.clone(), Message::Control);
    forward(answers, to_kernel.clone(), Message::Answer);
    let (events, mut from_cells) = mpsc::unbounded_channel();
    let passed = to_kernel.clone();
    tokio::spawn(async move {
        while let Some(event) = from_cells.recv().await {
            if passed.send(Message::Event(event)).is_err() {
                break;
            }
        }
    });
    let started = to_kernel.clone();
    std::thread::spawn(move || started.send(Message::Started(Box::new(Session::start(&library, events)))));
    let kernel = Kernel {
        shell,
        control,
        stdin,
        iopub,
        inbox,
        to_kernel,
        session: Start::Pending,
        runner: Runner::default(),
        waiting: VecDeque::new(),
        cell: None,
        asking: None,
        count: 0,
        is_warm: false,
    };
    kernel.run().await
}

/// What the kernel's task is told.
enum Message {
    Shell(JupyterMessage),
    Control(JupyterMessage),
    /// A line that the user typed for a cell.
    Answer(JupyterMessage),
    Event(Event),
    Started(Box<Result<Session>>),
    Ran(Outcome),
    /// A cell wants a line from the user.
    Ask {
        prompt: String,
        answer: oneshot::Sender<String>,
    },
    /// The cell with this number was interrupted a while ago.
    StillRunning(usize),
    /// The cell with this number has no more to say.
    Silent(usize),
    /// A reply that was made on another thread.
    Reply(Box<JupyterMessage>, JupyterMessage),
}

/// evcxr starts while Jupyter already talks to the kernel.
enum Start {
    Pending,
    Ready(Arc<Mutex<Session>>),
    Failed(String),
}

struct Kernel {
    shell: RouterSendConnection,
    control: RouterSendConnection,
    stdin: RouterSendConnection,
    iopub: KernelIoPubConnection,
    inbox: mpsc::UnboundedReceiver<Message>,
    to_kernel: mpsc::UnboundedSender<Message>,
    session: Start,
    runner: Runner,
    /// Requests that came while a cell runs.
    waiting: VecDeque<JupyterMessage>,
    cell: Option<Cell>,
    asking: Option<oneshot::Sender<String>>,
    count: usize,
    /// Whether rust-analyzer was, or is being, prepared.
    is_warm: bool,
}

impl Kernel {
    async fn run(mut self) -> Result<()> {
        self.iopub.send(Status::starting().into()).await?;
        while let Some(message) = self.inbox.recv().await {
            match message {
                Message::Shell(request) => {
                    self.waiting.push_back(request);
                    self.serve_waiting().await?;
                }
                Message::Control(request) => {
                    if self.control(request).await? {
                        return Ok(());
                    }
                }
                Message::Answer(message) => {
                    if let (JupyterMessageContent::InputReply(reply), Some(asking)) = (message.content, self.asking.take()) {
                        let _ = asking.send(reply.value);
                    }
                }
                Message::Event(event) => self.event(event).await?,
                Message::Started(session) => {
                    self.session = match *session {
                        Ok(session) => {
                            self.runner = session.runner();
                            Start::Ready(Arc::new(Mutex::new(session)))
                        }
                        Err(e) => Start::Failed(e.to_string()),
                    };
                    self.serve_waiting().await?;
                    self.warm_while_idle();
                }
                Message::Ran(outcome) => self.ran(outcome).await?,
                Message::Ask { prompt, answer } => self.ask(prompt, answer).await?,
                Message::StillRunning(count) => self.still_running(count).await?,
                Message::Silent(count) => {
                    if self.cell.as_ref().is_some_and(|cell| cell.count == count && cell.outcome.is_some()) {
                        self.finish_cell().await?;
                    }
                }
                Message::Reply(reply, request) => {
                    answer(&mut self.shell, *reply).await;
                    self.idle(&request).await?;
                }
            }
        }
        Ok(())
    }

    /// Serves requests in order until one starts a cell or must wait for evcxr.
    async fn serve_waiting(&mut self) -> Result<()> {
        while self.cell.is_none() {
            let is_cell = |m: &JupyterMessage| matches!(m.content, JupyterMessageContent::ExecuteRequest(_));
            match self.waiting.front() {
                None => return Ok(()),
                Some(request) if is_cell(request) && matches!(self.session, Start::Pending) => return Ok(()),
                Some(_) => {}
            }
            if let Some(request) = self.waiting.pop_front() {
                self.request(request).await?;
            }
        }
        Ok(())
    }

    /// Prepares rust-analyzer while the user reads or types. A cell that comes meanwhile waits for what is left of that, which it would have
    /// to do itself.
    fn warm_while_idle(&mut self) {
        let Start::Ready(session) = &self.session else { return };
        if !self.is_warm && self.cell.is_none() && self.waiting.is_empty() {
            self.is_warm = true;
            let session = session.clone();
            std::thread::spawn(move || session.lock().unwrap_or_else(PoisonError::into_inner).warm());
        }
    }

    async fn request(&mut self, request: JupyterMessage) -> Result<()> {
        self.iopub.send(Status::busy().as_child_of(&request)).await?;
        let reply: JupyterMessageContent = match &request.content {
            JupyterMessageContent::ExecuteRequest(asked) => {
                let asked = asked.clone();
                return self.start_cell(request, asked).await;
            }
            JupyterMessageContent::CompleteRequest(asked) => {
                let (code, position) = (asked.code.clone(), asked.cursor_pos);
                return self.with_session(request, move |session| complete(session, &code, position).into()).await;
            }
            JupyterMessageContent::InspectRequest(asked) => {
                let (code, position) = (asked.code.clone(), asked.cursor_pos);
                return self.with_session(request, move |session| inspect(session, &code, position).into()).await;
            }
            JupyterMessageContent::KernelInfoRequest(_) => JupyterMessageContent::KernelInfoReply(Box::new(kernel_info())),
            JupyterMessageContent::IsCompleteRequest(asked) => place::is_complete(&asked.code).into(),
            JupyterMessageContent::CommInfoRequest(_) => CommInfoReply::default().into(),
            JupyterMessageContent::HistoryRequest(_) => HistoryReply::default().into(),
            _ => return self.idle(&request).await,
        };
        answer(&mut self.shell, JupyterMessage::new(reply, Some(&request))).await;
        self.idle(&request).await
    }

    async fn idle(&mut self, request: &JupyterMessage) -> Result<()> {
        Ok(self.iopub.send(Status::idle().as_child_of(request)).await?)
    }

    /// Answers from evcxr, on another thread; from nothing while evcxr is not there.
    async fn with_session<F>(&mut self, request: JupyterMessage, answer: F) -> Result<()>
    where
        F: FnOnce(Option<&mut Session>) -> JupyterMessageContent + Send + 'static,
    {
        let session = match &self.session {
            Start::Ready(session) => Some(session.clone()),
            _ => None,
        };
        let to_kernel = self.to_kernel.clone();
        tokio::task::spawn_blocking(move || {
            // No cell runs now; another answer may still be looked for.
            let mut guard = session.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner));
            let reply = JupyterMessage::new(answer(guard.as_deref_mut()), Some(&request));
            let _ = to_kernel.send(Message::Reply(Box::new(reply), request));
        });
        Ok(())
    }

    async fn start_cell(&mut self, request: JupyterMessage, asked: ExecuteRequest) -> Result<()> {
        if !asked.silent {
            self.count += 1;
            let input = ExecuteInput { code: asked.code.clone(), execution_count: ExecutionCount(self.count) };
            self.iopub.send(input.as_child_of(&request)).await?;
        }
        self.cell = Some(Cell::new(request, &asked, self.count));
        let session = match &self.session {
            Start::Ready(session) => session.clone(),
            Start::Failed(problem) => {
                let problem = evcxr::Error::from(problem.clone());
                return self.conclude(Outcome::Refused(problem)).await;
            }
            Start::Pending => return Ok(()),
        };
        let to_kernel = self.to_kernel.clone();
        let may_ask = asked.allow_stdin;
        std::thread::spawn(move || {
            let input = |prompt: String| {
                let (answer, answered) = oneshot::channel();
                if !may_ask || to_kernel.send(Message::Ask { prompt, answer }).is_err() {
                    return Answer::Nobody;
                }
                answered.blocking_recv().map_or(Answer::Stopped, Answer::Line)
            };
            let outcome = session.lock().unwrap_or_else(PoisonError::into_inner).execute(&asked.code, &input);
            let _ = to_kernel.send(Message::Ran(outcome));
        });
        Ok(())
    }

    /// The cell has run; it is over when all it printed is here.
    async fn ran(&mut self, outcome: Outcome) -> Result<()> {
        let Some(cell) = &mut self.cell else { return Ok(()) };
        let (lost, count) = (matches!(outcome, Outcome::Lost), cell.count);
        cell.outcome = Some(outcome);
        if cell.flushed || (!lost && !self.runner.is_there()) {
            return self.finish_cell().await;
        }
        // A process that is lost tells its end; if it cannot, nothing waits for it for ever.
        let to_kernel = self.to_kernel.clone();
        tokio::spawn(async move {
            tokio::time::sleep(LAST_WORDS).await;
            let _ = to_kernel.send(Message::Silent(count));
        });
        Ok(())
    }

    async fn event(&mut self, event: Event) -> Result<()> {
        let Some(cell) = &mut self.cell else {
            // A thread that a cell left behind may print later, or the process end.
            return Ok(());
        };
        if matches!(event, Event::Ended(_)) {
            // Nobody waits for the answer any more.
            self.asking = None;
        }
        let (begins, asked_before) = (matches!(event, Event::Begun), cell.unanswered);
        for shown in cell.event(event) {
            self.show(shown).await?;
        }
        if begins && asked_before {
            self.ask_to_stop();
        }
        if self.cell.as_ref().is_some_and(|cell| cell.flushed && cell.outcome.is_some()) {
            self.finish_cell().await?;
        }
        Ok(())
    }

    async fn show(&mut self, shown: Shown) -> Result<()> {
        let Some(cell) = &self.cell else { return Ok(()) };
        Ok(self.iopub.send(shown.message(&cell.request)).await?)
    }

    async fn finish_cell(&mut self) -> Result<()> {
        let outcome = self.cell.as_mut().and_then(|cell| cell.outcome.take());
        match outcome {
            Some(outcome) => self.conclude(outcome).await,
            None => Ok(()),
        }
    }

    async fn conclude(&mut self, outcome: Outcome) -> Result<()> {
        let Some(mut cell) = self.cell.take() else { return Ok(()) };
        for shown in cell.rest() {
            self.iopub.send(shown.message(&cell.request)).await?;
        }
        let count = ExecutionCount(cell.count);
        let problem = cell.problem(&outcome);
        if let (Outcome::Ran(value), None) = (outcome, &problem)
            && !value.is_empty()
        {
            let data: serde_json::Map<_, _> = value.into_iter().map(|(mime, text)| (mime, json!(text))).collect();
            let data = serde_json::from_value(serde_json::Value::Object(data)).unwrap_or_default();
            self.iopub.send(ExecuteResult::new(count, data).as_child_of(&cell.request)).await?;
        }
        let mut reply = ExecuteReply { execution_count: count, ..Default::default() };
        if let Some(problem) = &problem {
            self.iopub.send(problem.as_child_of(&cell.request)).await?;
            reply.status = ReplyStatus::Error;
            reply.error = Some(Box::new(reply_error(problem)));
        }
        let dropped = if problem.is_some() && cell.stop_on_error { self.drop_waiting() } else { Vec::new() };
        answer(&mut self.shell, reply.as_child_of(&cell.request)).await;
        self.idle(&cell.request).await?;
        for request in dropped {
            self.iopub.send(Status::busy().as_child_of(&request)).await?;
            let reply = ExecuteReply { status: ReplyStatus::Aborted, execution_count: count, ..Default::default() };
            answer(&mut self.shell, reply.as_child_of(&request)).await;
            self.idle(&request).await?;
        }
        Box::pin(self.serve_waiting()).await?;
        self.warm_while_idle();
        Ok(())
    }

    /// Cells that were sent before a cell failed; they are not run.
    fn drop_waiting(&mut self) -> Vec<JupyterMessage> {
        let mut others = Vec::new();
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Shell(request) => self.waiting.push_back(request),
                other => others.push(other),
            }
        }
        for message in others {
            let _ = self.to_kernel.send(message);
        }
        let is_cell = |m: &JupyterMessage| matches!(m.content, JupyterMessageContent::ExecuteRequest(_));
        let (dropped, kept): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiting).into_iter().partition(is_cell);
        self.waiting.extend(kept);
        dropped
    }

    async fn ask(&mut self, prompt: String, line: oneshot::Sender<String>) -> Result<()> {
        let Some(cell) = &self.cell else { return Ok(()) };
        let question = InputRequest { prompt, password: false }.as_child_of(&cell.request);
        // A question that nobody gets is not waited for.
        self.asking = answer(&mut self.stdin, question).await.then_some(line);
        Ok(())
    }

    /// True after a shutdown.
    async fn control(&mut self, request: JupyterMessage) -> Result<bool> {
        self.iopub.send(Status::busy().as_child_of(&request)).await?;
        let mut ends = false;
        let reply: Option<JupyterMessageContent> = match &request.content {
            JupyterMessageContent::InterruptRequest(_) => {
                self.interrupt().await?;
                Some(InterruptReply::new().into())
            }
            JupyterMessageContent::ShutdownRequest(asked) => {
                ends = true;
                Some(ShutdownReply { restart: asked.restart, ..Default::default() }.into())
            }
            JupyterMessageContent::KernelInfoRequest(_) => Some(JupyterMessageContent::KernelInfoReply(Box::new(kernel_info()))),
            _ => None,
        };
        if ends {
            self.runner.kill();
        }
        if let Some(reply) = reply {
            answer(&mut self.control, JupyterMessage::new(reply, Some(&request))).await;
        }
        self.idle(&request).await?;
        Ok(ends)
    }

    /// Asks the cell to stop, as long calls of the prelude do; where nothing has come of that, its process is ended.
    async fn interrupt(&mut self) -> Result<()> {
        let Some(cell) = &mut self.cell else { return Ok(()) };
        // A question that waits is answered by that.
        let was_asking = self.asking.take().is_some();
        cell.interrupts += 1;
        let again = std::mem::replace(&mut cell.unanswered, !was_asking);
        match (cell.begun, again) {
            // Where no compiler runs yet or any more, it is asked once it has begun.
            (false, _) => {
                crate::compiling::stop();
            }
            (true, false) => self.ask_to_stop(),
            (true, true) => self.runner.kill(),
        }
        Ok(())
    }

    fn ask_to_stop(&self) {
        let Some(cell) = &self.cell else { return };
        self.runner.interrupt();
        let (to_kernel, count) = (self.to_kernel.clone(), cell.count);
        tokio::spawn(async move {
            tokio::time::sleep(PATIENCE).await;
            let _ = to_kernel.send(Message::StillRunning(count));
        });
    }

    async fn still_running(&mut self, count: usize) -> Result<()> {
        if !self.cell.as_ref().is_some_and(|cell| cell.count == count && cell.unanswered) {
            return Ok(());
        }
        let text =
            "This call does not stop by itself. Interrupt once more to end it; all variables of the notebook will be lost.\n";
        self.show(Shown::stderr(text)).await
    }
}
