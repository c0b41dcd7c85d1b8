//! Steps in bounded slices of time, so that a caller can poll, show progress and stop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use candle_core::Tensor;

use super::checkpoint::Checkpoint;
use super::history::EpochSums;
use super::{EarlyStopping, EpochRecord, History, TrainConfig};
use crate::data::{Batch, Cells, Csr};
use crate::error::{Error, Result};
use crate::model::{Phase, System};
use crate::nn::Draws;
use crate::observe::{CancelToken, Observer, Progress};
use crate::optim::{Adam, Gradients};
use crate::rng::Rng;
use crate::sampler::{MiniBatch, Sampler, UniformSampler};
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
/// epoch, and two mini-batches.
pub struct Trainer<'a, S: System> {
    system: S,
    cells: Cells<'a>,
    config: TrainConfig,
    threads: Threads,
    rng: Rng,
    adam: Adam,
    rows: Vec<usize>,
    held_out: Vec<usize>,
    sampler: Option<Box<dyn Sampler>>,
    /// Mini-batches of the current epoch, empty between epochs.
    batches: Vec<MiniBatch>,
    prepared: Option<(S::Prepared, usize)>,
    epoch: usize,
    step: usize,
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
        let (rows, held_out) = split(cells.n_cells(), config.train_frac, &rng);
        let adam = Adam::new(system.parameters(), config.adam)?;
        let stopping = EarlyStopping::new(config.patience);
        Ok(Self {
            system,
            cells,
            config,
            threads,
            rng,
            adam,
            rows,
            held_out,
            sampler: None,
            batches: Vec::new(),
            prepared: None,
            epoch: 0,
            step: 0,
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
        if self.batches.is_empty() {
            self.begin_epoch(observer)?;
        }
        let values = self.train_mini_batch()?;
        self.clock.first_step.get_or_insert_with(Instant::now);
        self.step += 1;
        let loss = values.iter().map(|(_, weight, value)| weight * value).sum();
        observer.on_step(&self.progress(loss, None));
        if self.step == self.batches.len() {
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
        if let Some(sampler) = &self.sampler {
            self.batches = sampler.epoch(&self.rng, self.epoch)?;
        }
        self.step = 0;
        self.sums = EpochSums::default();
        self.system.parameters().refresh(&mut self.last_good)?;
        Ok(())
    }

    /// Trains the current mini-batch while the next is prepared.
    fn train_mini_batch(&mut self) -> Result<Vec<(&'static str, f64, f64)>> {
        let current = match self.prepared.take() {
            Some(prepared) => prepared,
            None => self.threads.run(|| prepare(&self.system, &self.cells, &self.rng, &self.batches, self.epoch, self.step))?,
        };
        let learning_rate = self.learning_rate();
        let Self { system, cells, rng, batches, adam, threads, config, .. } = self;
        let (epoch, step) = (self.epoch, self.step);
        let (trained, next) = threads.run(|| {
            rayon::join(
                || update(system, adam, &current.0, &Draws::new(*rng, epoch, step), learning_rate, config.clip_norm),
                || (step + 1 < batches.len()).then(|| prepare(system, cells, rng, batches, epoch, step + 1)),
            )
        });
        let values = trained.map_err(|e| self.keep_good(e))?;
        self.prepared = next.transpose()?;
        self.sums.add(&values, current.1);
        self.clock.cells += current.1;
        Ok(values)
    }

    /// Places a failed step in the run and makes sure that the weights are finite.
    fn keep_good(&mut self, error: Error) -> Error {
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
        if !self.held_out.is_empty() {
            let value = self.validate()?;
            record.validation_loss = Some(value);
            if self.stopping.observe(self.epoch + 1, value) {
                self.best = Some(self.system.parameters().snapshot()?);
            }
        }
        let (loss, validation) = (record.loss, record.validation_loss);
        let progress = self.progress(loss, validation);
        self.history.epochs.push(record);
        self.batches.clear();
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

    /// Mean loss over the held-out cells, with the same draws in every epoch.
    fn validate(&self) -> Result<f64> {
        let rng = self.rng.derive("validation");
        let batches = UniformSampler::in_order(self.held_out.clone(), self.config.validation_batch_size).epoch(&rng, 0)?;
        let (mut sum, mut n) = (0.0, 0);
        for step in 0..batches.len() {
            if batches[step].rows.len() < 2 {
                continue;
            }
            let values = self.threads.run(|| -> Result<_> {
                let (prepared, _) = prepare(&self.system, &self.cells, &rng, &batches, 0, step)?;
                self.system.validation_losses(&prepared)?.values()
            })?;
            let n_cells = batches[step].rows.len();
            sum += n_cells as f64 * values.iter().map(|(_, weight, value)| weight * value).sum::<f64>();
            n += n_cells;
        }
        Ok(sum / n.max(1) as f64)
    }

    fn learning_rate(&self) -> f64 {
        let factor = self.config.schedule.factor(self.epoch, self.config.n_epochs, self.step, self.batches.len());
        self.config.learning_rate * factor
    }

    fn progress(&self, loss: f64, validation_loss: Option<f64>) -> Progress {
        let seconds = self.clock.spent.as_secs_f64().max(1e-9);
        let (n_steps, done) = (self.batches.len(), self.clock.cells as f64);
        let per_epoch = self.batches.iter().map(|b| b.rows.len()).sum::<usize>() as f64;
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
        Checkpoint::take(&self.system, &self.adam, &self.config, self.epoch, &self.history, self.best.as_deref())
    }

    /// Goes on from a checkpoint of the same system, settings and cells.
    ///
    /// # Errors
    /// [`Error::ModelFile`] for a file that is no checkpoint or belongs to a run with other settings.
    pub fn resume(&mut self, path: &std::path::Path) -> Result<()> {
        let checkpoint = Checkpoint::load(path, self.system.name(), &self.config)?;
        self.system.parameters().restore(&checkpoint.parameters)?;
        self.system.restore_extra_state(&checkpoint.extra)?;
        self.adam.restore(self.system.parameters(), &checkpoint.adam, checkpoint.adam_steps)?;
        self.best = checkpoint.best;
        self.stopping = EarlyStopping::new(self.config.patience);
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

/// Cells to train on and held-out cells, both ascending.
fn split(n_cells: usize, train_frac: f64, rng: &Rng) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..n_cells).collect();
    if train_frac >= 1.0 {
        return (order, Vec::new());
    }
    rng.stream("validation split", 0, 0).shuffle(&mut order);
    let mut held_out = order.split_off((train_frac * n_cells as f64) as usize);
    order.sort_unstable();
    held_out.sort_unstable();
    (order, held_out)
}

fn prepare<S: System>(
    system: &S,
    cells: &Cells<'_>,
    rng: &Rng,
    batches: &[MiniBatch],
    epoch: usize,
    step: usize,
) -> Result<(S::Prepared, usize)> {
    let indices = batches[step].rows.clone();
    let n_cells = indices.len();
    let mut rows = Csr::empty(cells.n_genes());
    cells.source().read_rows(&indices, &mut rows)?;
    Ok((system.prepare(Batch { rows, indices }, &Draws::new(*rng, epoch, step))?, n_cells))
}

/// All phases of one step; the values are those of the last phase, the model's.
fn update<S: System>(
    system: &S,
    adam: &mut Adam,
    prepared: &S::Prepared,
    draws: &Draws,
    learning_rate: f64,
    clip_norm: Option<f64>,
) -> Result<Vec<(&'static str, f64, f64)>> {
    let mut values = Vec::new();
    for phase in system.phases() {
        for _ in 0..phase.n_updates {
            values = update_phase(system, adam, prepared, *phase, draws, learning_rate, clip_norm)?;
        }
    }
    Ok(values)
}

fn update_phase<S: System>(
    system: &S,
    adam: &mut Adam,
    prepared: &S::Prepared,
    phase: Phase,
    draws: &Draws,
    learning_rate: f64,
    clip_norm: Option<f64>,
) -> Result<Vec<(&'static str, f64, f64)>> {
    let terms = system.losses(prepared, phase, draws)?;
    let values = terms.values()?;
    if let Some((name, _, value)) = values.iter().find(|(_, _, value)| !value.is_finite()) {
        return Err(not_finite(&format!("loss `{name}`"), *value));
    }
    let Some(total) = terms.total()? else { return Ok(values) };
    let gradients = Gradients::of(&total, system.parameters())?;
    let mut scale = 1.0;
    if let Some(longest) = clip_norm {
        let norm = gradients.norm(system.parameters(), phase.group)?;
        if !norm.is_finite() {
            return Err(not_finite("gradient", norm));
        }
        scale = (longest / norm.max(f64::MIN_POSITIVE)).min(1.0);
    }
    adam.step(system.parameters(), phase.group, &gradients, learning_rate, scale)?;
    Ok(values)
}

fn not_finite(term: &str, value: f64) -> Error {
    Error::NonFinite { term: term.to_owned(), value: value.to_string(), epoch: 0, step: 0 }
}
