//! Steps in bounded slices of time, so that a caller can poll, show progress and stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::checkpoint::Checkpoint;
use super::history::EpochSums;
use super::stack::{Purpose, Ready, Stack, prepare};
use super::validation::Validation;
use super::{EarlyStopping, EpochRecord, History, TrainConfig};
use crate::data::Cells;
use crate::error::{Error, Result};
use crate::model::{Phase, System};
use crate::nn::Draws;
use crate::observe::{CancelToken, Observer, Progress};
use crate::optim::{Gradients, Optimizer};
use crate::rng::Rng;
use crate::sampler::{MiniBatch, MiniBatches, Sampler};
use crate::threads::Threads;

/// Where training stands after a slice of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// There is more to do.
    Running,
    /// All epochs are done, or held-out cells no longer gained.
    Finished,
    /// The cancel token was set; the weights are those of the last step.
    Cancelled,
}

/// Trains a system on cells.
///
/// The loop is the same for all systems: draw mini-batches, prepare the next while the current one trains, sum the losses of each
/// phase, differentiate, step, record. Memory beside the system: twice its parameters for Adam, once for the weights of the last good
/// epoch, two mini-batches, and the gradients that are being averaged.
pub struct Trainer<'a, S: System> {
    system: S,
    cells: Cells<'a>,
    config: TrainConfig,
    threads: Threads,
    rng: Rng,
    optimizer: Optimizer,
    rows: Vec<usize>,
    validation: Validation<S::Prepared>,
    sampler: Option<Box<dyn Sampler>>,
    /// What is left of the current epoch's mini-batches; `None` between epochs.
    batches: Option<MiniBatches>,
    prepared: Option<Ready<S::Prepared>>,
    /// By phase, gradients that wait for others, with their number.
    waiting: Vec<Option<(Gradients, usize)>>,
    epoch: usize,
    step: usize,
    n_steps: usize,
    rows_per_step: f64,
    sums: EpochSums,
    history: History,
    stopping: EarlyStopping,
    best: Option<Vec<(String, Tensor)>>,
    last_good: Vec<(String, Tensor)>,
    state: State,
    checkpoint: Option<PathBuf>,
    clock: Clock,
}

/// Time spent in training itself, not between slices.
#[derive(Debug, Default)]
struct Clock {
    spent: Duration,
    cells: usize,
    first_step: Option<Instant>,
}

impl<'a, S: System> Trainer<'a, S> {
    /// Prepares training of `system` on `cells` with a pool of `threads`.
    ///
    /// # Errors
    /// Settings out of range, or too few cells.
    pub fn new(system: S, cells: Cells<'a>, config: TrainConfig, threads: Threads) -> Result<Self> {
        config.validate()?;
        let rng = Rng::new(config.seed);
        if let Some(phase) = system.phases().iter().find(|phase| phase.n_updates > 1 && config.accumulate > 1) {
            let problem =
                format!("is {} where `{}` is updated {} times per mini-batch", config.accumulate, phase.name, phase.n_updates);
            return Err(Error::argument("accumulate", problem, "use 1"));
        }
        let (rows, held_out) = system.split(&cells, config.train_frac, &rng)?;
        let validation = system.validation_batches(&held_out, config.validation_batch_size, &rng)?;
        let validation = Validation::new(validation, &cells, rng.derive("validation"));
        let optimizer = Optimizer::new(system.parameters(), &config.optimizer)?;
        let stopping = EarlyStopping::new(config.patience, config.min_delta);
        let waiting = system.phases().iter().map(|_| None).collect();
        Ok(Self {
            system,
            cells,
            config,
            threads,
            rng,
            optimizer,
            rows,
            validation,
            sampler: None,
            batches: None,
            prepared: None,
            waiting,
            epoch: 0,
            step: 0,
            n_steps: 0,
            rows_per_step: 0.0,
            sums: EpochSums::default(),
            history: History::default(),
            stopping,
            best: None,
            last_good: Vec::new(),
            state: State::Running,
            checkpoint: None,
            clock: Clock::default(),
        })
    }

    /// Writes a checkpoint to `path` after every epoch, replacing the one before.
    pub fn with_checkpoint(mut self, path: Option<PathBuf>) -> Self {
        self.checkpoint = path;
        self
    }

    /// Trains to the end, or until cancelled.
    ///
    /// # Errors
    /// As [`Trainer::advance`].
    pub fn train(&mut self, observer: &mut dyn Observer, cancel: &CancelToken) -> Result<State> {
        loop {
            let state = self.advance(Duration::from_secs(3600), observer, cancel)?;
            if state != State::Running {
                return Ok(state);
            }
        }
    }

    /// Trains for about `budget` (at least one step) and returns. After an error the trainer keeps the last good weights and
    /// [`Trainer::finish`] gives them.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a loss or gradient that is not finite; what the source of the cells fails at.
    pub fn advance(&mut self, budget: Duration, observer: &mut dyn Observer, cancel: &CancelToken) -> Result<State> {
        let start = Instant::now();
        if self.state == State::Cancelled {
            self.state = State::Running;
        }
        while self.state == State::Running {
            if cancel.is_cancelled() {
                self.state = State::Cancelled;
                break;
            }
            let began = Instant::now();
            let outcome = self.one_step(observer);
            self.clock.spent += began.elapsed();
            outcome?;
            if start.elapsed() >= budget {
                break;
            }
        }
        Ok(self.state)
    }

    fn one_step(&mut self, observer: &mut dyn Observer) -> Result<()> {
        if self.batches.is_none() {
            self.begin_epoch(observer)?;
        }
        let values = self.train_mini_batches()?;
        self.clock.first_step.get_or_insert_with(Instant::now);
        let loss = values.iter().map(|(_, weight, value)| weight * value).sum();
        observer.on_step(&self.progress(loss, None));
        if self.step == self.n_steps {
            self.end_epoch(observer)?;
        }
        Ok(())
    }

    fn begin_epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let Self { system, cells, rows, epoch, sampler, threads, .. } = self;
        let first = sampler.is_none();
        let changed = threads.run(|| system.sampler(cells, rows, *epoch, first))?;
        if let Some(new) = changed {
            if !first {
                observer.on_stage("neighbourhood sampling");
            }
            *sampler = Some(new);
        }
        let Some(sampler) = &self.sampler else { return Err(no_sampler()) };
        let batches = sampler.draw(&self.rng, self.epoch)?;
        (self.n_steps, self.rows_per_step) = (batches.len(), batches.rows_per_batch());
        self.batches = Some(batches);
        self.prepared = None;
        self.waiting.iter_mut().for_each(|w| *w = None);
        self.step = 0;
        self.sums = EpochSums::default();
        self.system.parameters().refresh(&mut self.last_good)?;
        Ok(())
    }

    /// Trains the current mini-batch, or stack of them, while the next is prepared.
    fn train_mini_batches(&mut self) -> Result<Vec<(&'static str, f64, f64)>> {
        let stacks = self.system.stacks();
        let Self { system, cells, rng, batches, optimizer, waiting, threads, config, prepared, .. } = self;
        let (epoch, step) = (self.epoch, self.step);
        let Some(batches) = batches else { return Err(no_sampler()) };
        // A stack ends where the weights are updated.
        let most = |step: usize| if stacks { config.accumulate - step % config.accumulate } else { 1 };
        let current = match prepared.take() {
            Some(prepared) => prepared,
            None => {
                let stack = Stack::draw(batches, most(step)).ok_or_else(no_sampler)?;
                threads.run(|| prepare(system, cells, stack, Purpose::Training, &Draws::new(*rng, epoch, step)))?
            }
        };
        let after = step + current.n_steps;
        let next = Stack::draw(batches, most(after));
        let learning_rate = config.learning_rate_at(epoch, after - 1, self.n_steps);
        let mut update = Update {
            system,
            optimizer,
            waiting,
            learning_rate,
            clip_norm: config.clip_norm,
            // The last mini-batches of an epoch wait for no others.
            n_averaged: if after == self.n_steps { 1 } else { config.accumulate },
        };
        let (trained, next) = threads.run(|| {
            rayon::join(
                || update.run(&current, &Draws::new(*rng, epoch, step)),
                || next.map(|stack| prepare(system, cells, stack, Purpose::Training, &Draws::new(*rng, epoch, after))),
            )
        });
        let values = trained.map_err(|e| self.keep_good(e))?;
        self.prepared = next.transpose()?;
        self.sums.add(&values, current.n_steps, current.n_cells);
        self.clock.cells += current.n_cells;
        self.step = after;
        Ok(values)
    }

    /// Places a failed step in the run and makes sure that the weights are finite.
    fn keep_good(&mut self, error: Error) -> Error {
        // What was drawn is spent: a caller that goes on nevertheless starts the epoch anew.
        self.batches = None;
        let Error::NonFinite { term, value, .. } = error else { return error };
        let parameters = self.system.parameters();
        if !parameters.all_finite().unwrap_or(false)
            && let Err(e) = parameters.restore(&self.last_good)
        {
            return e;
        }
        Error::NonFinite { term, value, epoch: self.epoch + 1, step: self.step + 1 }
    }

    fn end_epoch(&mut self, observer: &mut dyn Observer) -> Result<()> {
        let learning_rate = self.learning_rate();
        let mut record = std::mem::take(&mut self.sums).record(self.epoch + 1, learning_rate);
        if !self.validation.is_empty() {
            let value = self.threads.run(|| self.validation.loss(&self.system, &self.cells))?;
            record.validation_loss = Some(value);
            if self.stopping.observe(self.epoch + 1, value) && self.config.keep_best {
                self.best = Some(self.system.parameters().snapshot()?);
            }
        }
        let (loss, validation) = (record.loss, record.validation_loss);
        let progress = self.progress(loss, validation);
        self.history.epochs.push(record);
        self.batches = None;
        self.epoch += 1;
        self.step = 0;
        if self.epoch >= self.config.n_epochs || self.stopping.should_stop() {
            self.state = State::Finished;
        }
        if let Some(path) = &self.checkpoint {
            self.checkpoint_now()?.save(path)?;
        }
        observer.on_epoch(&progress);
        Ok(())
    }

    fn learning_rate(&self) -> f64 {
        self.config.learning_rate_at(self.epoch, self.step, self.n_steps)
    }

    fn progress(&self, loss: f64, validation_loss: Option<f64>) -> Progress {
        let seconds = self.clock.spent.as_secs_f64().max(1e-9);
        let (n_steps, done) = (self.n_steps, self.clock.cells as f64);
        let per_epoch = self.rows_per_step * n_steps as f64;
        let left = per_epoch * (self.config.n_epochs - self.epoch) as f64 - per_epoch * self.step as f64 / n_steps.max(1) as f64;
        Progress {
            epoch: self.epoch + 1,
            n_epochs: self.config.n_epochs,
            step: self.step,
            n_steps,
            loss,
            learning_rate: self.learning_rate(),
            cells_per_second: done / seconds,
            eta_seconds: left.max(0.0) * seconds / done.max(1.0),
            validation_loss,
        }
    }

    /// Everything that a run needs to go on as if it had not been interrupted.
    fn checkpoint_now(&self) -> Result<Checkpoint> {
        Checkpoint::take(&self.system, &self.optimizer, &self.config, self.epoch, &self.history, self.best.as_deref())
    }

    /// Goes on from a checkpoint of the same system, settings and cells.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that is no checkpoint or belongs to a run with other settings.
    pub fn resume(&mut self, path: &std::path::Path) -> Result<()> {
        let checkpoint = Checkpoint::load(path, self.system.name(), &self.config)?;
        self.system.parameters().restore(&checkpoint.parameters)?;
        self.system.restore_extra_state(&checkpoint.extra)?;
        self.optimizer.restore(self.system.parameters(), &checkpoint.optimizer, checkpoint.optimizer_steps)?;
        self.best = checkpoint.best;
        self.stopping = EarlyStopping::new(self.config.patience, self.config.min_delta);
        for record in &checkpoint.history.epochs {
            if let Some(value) = record.validation_loss {
                self.stopping.observe(record.epoch, value);
            }
        }
        self.history = checkpoint.history;
        self.epoch = checkpoint.epoch;
        if self.epoch >= self.config.n_epochs || self.stopping.should_stop() {
            self.state = State::Finished;
        }
        Ok(())
    }

    /// Ends training: the system with its best weights (those of the last step where no cells were held out) and the history.
    ///
    /// # Errors
    /// Where the device fails.
    pub fn finish(mut self) -> Result<(S, History)> {
        if let Some(best) = &self.best {
            self.system.parameters().restore(best)?;
            self.history.best_epoch = self.stopping.best_epoch();
        }
        Ok((self.system, self.history))
    }

    /// Epochs so far.
    pub fn history(&self) -> &[EpochRecord] {
        &self.history.epochs
    }

    /// The system in training.
    pub fn system(&self) -> &S {
        &self.system
    }

    /// The pool of this run.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Mini-batches of an epoch, to look at; draws the same as training will.
    ///
    /// # Errors
    /// Where no mini-batches can be formed.
    pub fn mini_batches(&mut self, epoch: usize) -> Result<Vec<MiniBatch>> {
        if self.sampler.is_none() {
            let Self { system, cells, rows, sampler, threads, .. } = self;
            *sampler = threads.run(|| system.sampler(cells, rows, epoch, true))?;
        }
        self.sampler.as_ref().map_or(Ok(Vec::new()), |s| s.epoch(&self.rng, epoch))
    }

    /// Seconds spent in training so far, and cells trained per second.
    pub fn speed(&self) -> (f64, f64) {
        let seconds = self.clock.spent.as_secs_f64();
        (seconds, self.clock.cells as f64 / seconds.max(1e-9))
    }

    /// When the first step of this run was done.
    pub fn first_step_at(&self) -> Option<Instant> {
        self.clock.first_step
    }
}

/// What one step changes, and how.
struct Update<'a, S> {
    system: &'a S,
    optimizer: &'a mut Optimizer,
    waiting: &'a mut [Option<(Gradients, usize)>],
    learning_rate: f64,
    clip_norm: Option<f64>,
    /// Mini-batches whose gradients make an update.
    n_averaged: usize,
}

impl<S: System> Update<'_, S> {
    /// All phases of one step; the values are those of the last phase, the model's.
    fn run(&mut self, ready: &Ready<S::Prepared>, draws: &Draws) -> Result<Vec<(&'static str, f64, f64)>> {
        let mut values = Vec::new();
        for (i, phase) in self.system.phases().iter().enumerate() {
            for _ in 0..phase.n_updates {
                values = self.phase(i, *phase, ready, draws)?;
            }
        }
        Ok(values)
    }

    fn phase(
        &mut self,
        i: usize,
        phase: Phase,
        ready: &Ready<S::Prepared>,
        draws: &Draws,
    ) -> Result<Vec<(&'static str, f64, f64)>> {
        let terms = self.system.losses(&ready.prepared, phase, draws)?;
        let values = terms.values()?;
        if let Some((name, _, value)) = values.iter().find(|(_, _, value)| !value.is_finite()) {
            return Err(not_finite(&format!("loss `{name}`"), *value));
        }
        let parameters = self.system.parameters();
        let n_new = ready.n_steps;
        let summed = terms.total()?.map(|mean| if n_new == 1 { Ok(mean) } else { mean * n_new as f64 }).transpose()?;
        let new = summed.map(|loss| Gradients::of(&loss, parameters)).transpose()?;
        let (mut gradients, n) = match (self.waiting[i].take(), new) {
            (Some((mut sum, n)), Some(new)) => {
                sum.add(new)?;
                (sum, n + n_new)
            }
            (Some((sum, n)), None) => (sum, n + n_new),
            (None, Some(new)) => (new, n_new),
            (None, None) => return Ok(values),
        };
        if n < self.n_averaged {
            self.waiting[i] = Some((gradients, n));
            return Ok(values);
        }
        let mut scale = 1.0 / n as f64;
        if let Some(longest) = self.clip_norm {
            let norm = scale * gradients.norm(parameters, phase.group)?;
            if !norm.is_finite() {
                return Err(not_finite("gradient", norm));
            }
            scale *= (longest / norm.max(f64::MIN_POSITIVE)).min(1.0);
        }
        self.optimizer.step(parameters, phase.group, &gradients, self.learning_rate, scale)?;
        Ok(values)
    }
}

fn not_finite(term: &str, value: f64) -> Error {
    Error::NonFinite { term: term.to_owned(), value: value.to_string(), epoch: 0, step: 0 }
}

fn no_sampler() -> Error {
    Error::data("the system gave no mini-batches for an epoch", "report this")
}
