//! Says what a notebook needs, what is there and how to get the rest.

use std::process::Command;

use crate::error::{Error, Result};
use crate::install::{kernel_folder, library_folder};
use crate::library::Library;

/// How one gets the source of the standard library.
const SOURCE: &str = "`rustup component add rust-src`";

/// Runs `tutti-jupyter doctor`; fails where a notebook would not work.
pub fn run() -> Result<()> {
    let mut missing = 0;
    let mut need = |name: &str, found: std::result::Result<String, String>| match found {
        Ok(text) => println!("ok       {name}: {text}"),
        Err(text) => {
            missing += 1;
            println!("missing  {name}: {text}");
        }
    };
    need("cargo", version("cargo", "--version", "install Rust from https://rustup.rs"));
    need("linker", version("cc", "--version", "install a C compiler, e.g. `apt install build-essential`"));
    let library = Library::load(&library_folder()?);
    need("prelude", library.as_ref().map(|l| format!("version {}, {}", l.version, l.rustc)).map_err(ToString::to_string));
    if let Ok(library) = &library {
        let source = library.standard_source();
        let found = source.is_dir().then(|| source.display().to_string());
        need("source of the standard library", found.ok_or_else(|| format!("{SOURCE}, then `tutti-jupyter install`")));
        need("compiler", library.check().map(|()| "the one that built the prelude".to_owned()).map_err(|e| e.to_string()));
    }
    let kernel = kernel_folder(None)?.join("kernel.json");
    let known = kernel.exists().then(|| kernel.display().to_string());
    need("kernel", known.ok_or_else(|| format!("{} is not there; run `tutti-jupyter install`", kernel.display())));
    for (name, found, why) in [
        (
            "jupyter",
            version("jupyter", "--version", "`pip install jupyterlab`, or use another front end, such as VS Code"),
            "opens notebooks",
        ),
        ("mold", version("mold", "--version", "`apt install mold`"), "cells link faster"),
    ] {
        match found {
            Ok(text) => println!("ok       {name}: {text}"),
            Err(how) => println!("optional {name}, so that {why}: {how}"),
        }
    }
    match missing {
        0 => Ok(()),
        n => Err(Error::Build(format!("{n} missing; what to do stands beside each"))),
    }
}

fn version(program: &str, argument: &str, how: &str) -> std::result::Result<String, String> {
    let output = Command::new(program).arg(argument).output().map_err(|_| how.to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().find(|l| !l.is_empty()).unwrap_or_default().trim().to_owned())
}

/// Folder of the standard library's source, or how to get it.
pub fn standard_source() -> std::result::Result<String, String> {
    let sysroot = version("rustc", "--print=sysroot", "install Rust")?;
    let folder = std::path::Path::new(&sysroot).join("lib/rustlib/src/rust/library");
    match folder.is_dir() {
        true => Ok(folder.display().to_string()),
        false => Err(SOURCE.to_owned()),
    }
}
