//! The one door out: nothing but R values crosses it, neither a panic nor a long jump.

use std::panic::{AssertUnwindSafe, catch_unwind};

use extendr_api::prelude::*;

/// What R turns into a condition of class `tutti_error_<kind>`.
#[derive(Debug)]
pub struct Failure {
    kind: &'static str,
    message: String,
}

impl Failure {
    /// A failure of this kind.
    pub fn new(kind: &'static str, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    fn into_robj(self) -> Robj {
        let list = List::from_pairs([("kind", Robj::from(self.kind)), ("message", Robj::from(self.message))]);
        let mut robj: Robj = list.into();
        match robj.set_class(["tutti_failure"]) {
            Ok(failure) => failure.clone(),
            Err(_) => robj,
        }
    }
}

impl From<tutti::Error> for Failure {
    fn from(error: tutti::Error) -> Self {
        use tutti::Error::*;
        let kind = match &error {
            Argument { .. } => "argument",
            Matrix { .. } => "matrix",
            Value { .. } => "value",
            Data { .. } => "data",
            GeneOverlap { .. } => "gene_overlap",
            NonFinite { .. } => "non_finite",
            ModelFile { .. } => "model",
            Io { .. } | Source { .. } => "file",
            _ => "internal",
        };
        Self::new(kind, error.to_string())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::new("internal", error.to_string())
    }
}

/// Runs the body of an exported function. A failure comes back as a list of class `tutti_failure`, for R to signal: extendr's own
/// way to raise an error reads the message as a format and crashes on a `%`.
pub fn guard(body: impl FnOnce() -> std::result::Result<Robj, Failure>) -> Robj {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(value)) => value,
        Ok(Err(failure)) => failure.into_robj(),
        Err(panic) => {
            let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            let message = format!("defect of tutti: {}; please report it", said.unwrap_or("a panic without a message"));
            Failure::new("internal", message).into_robj()
        }
    }
}
