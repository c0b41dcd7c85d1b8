//! What a cell ends in, on its way to the notebook.
//!
//! evcxr compiles the last expression of a cell with `.evcxr_display()` behind it, and where the compiler refuses, whatever the reason, with
//! `{:?}` around it. Two things follow. Values that have no such method get one here, so that a cell that ends in a number compiles once. And
//! the values of this crate show themselves by `{:?}` too where it is evcxr that asks: otherwise a cell that both ends in a figure and uses up
//! a variable, which the compiler refuses at first, would show text.

use std::cell::Cell;
use std::fmt::{self, Debug, Formatter, Write};

use crate::display::{Rich, Target, show};

/// Character by which the kernel marks the `{:?}` of evcxr's: it fills up to a width that is not asked for, and so changes nothing.
const MARK: char = '\u{1}';

thread_local! {
    /// Whether the last value of a cell is being written and nothing of it is there yet: what writes first is that value itself, not a part of it.
    static BEGINS: Cell<bool> = const { Cell::new(false) };
}

/// Shows any value of a cell that has nothing better as text.
#[doc(hidden)]
pub trait Shown {
    /// Shows the value; notebooks call this for the last expression of a cell.
    fn evcxr_display(&self);
}

impl<T: Debug + ?Sized> Shown for T {
    fn evcxr_display(&self) {
        let mut text = Text::default();
        BEGINS.set(true);
        // Only a value's own `Debug` can fail; then there is what it wrote.
        let _ = write!(text, "{self:?}");
        BEGINS.set(false);
        if !text.0.is_empty() {
            crate::display::result(&text.0);
        }
    }
}

/// Text that tells when it begins.
#[derive(Default)]
struct Text(String);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        BEGINS.set(false);
        self.0.push_str(text);
        Ok(())
    }
}

/// `{:?}` of a value of this crate: its text, or nothing where it is the last value of a cell, which is shown in its richest form.
pub(crate) fn debug<T: Rich>(value: &T, text: &str, f: &mut Formatter<'_>) -> fmt::Result {
    let is_last = BEGINS.take() || f.fill() == MARK;
    if is_last && Target::here() != Target::Console {
        show(value);
        return Ok(());
    }
    f.write_str(text)
}
