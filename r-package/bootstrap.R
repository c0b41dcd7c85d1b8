# Makes the package self-contained, so that it builds from a source tarball without the rest of the repository and without a network: writes
# src/rust/standalone, with the core, a workspace of it and the glue, and all crates. No other file is touched, and a clone builds as before. Run in
# r-package/ or a copy of it, with TUTTI_REPOSITORY set to the repository if it is not the folder above. pkgbuild (devtools, pak, R-universe) runs it
# before R CMD build.

repository <- normalizePath(Sys.getenv("TUTTI_REPOSITORY", ".."))
rust <- file.path("src", "rust")
standalone <- file.path(rust, "standalone")
core <- file.path(standalone, "core")
vendor <- file.path(standalone, "vendor")
manifest_path <- c("--manifest-path", file.path(standalone, "Cargo.toml"))

# Where R packages are built from source.
targets <- c(
    "x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu", "x86_64-apple-darwin", "aarch64-apple-darwin", "x86_64-pc-windows-gnu"
)

# Named in the sources; nothing is behind it here.
features <- c("", "[features]", "cuda = []")

read <- function(...) readLines(file.path(...), warn = FALSE)

cargo <- function(...) {
    out <- suppressWarnings(system2("cargo", c(...), stdout = TRUE))
    if (!is.null(attr(out, "status"))) {
        stop("cargo ", paste(c(...), collapse = " "), " failed")
    }
    out
}

# Numbers of the lines of all tables whose header matches.
table_lines <- function(lines, pattern) {
    headers <- grep("^\\[", lines)
    ends <- c(headers[-1] - 1, length(lines))
    keep <- grepl(pattern, lines[headers])
    unlist(Map(seq, headers[keep], ends[keep]))
}

without <- function(lines, pattern) {
    drop <- table_lines(lines, pattern)
    if (length(drop) == 0) lines else lines[-drop]
}

copy_core <- function() {
    dir.create(core, recursive = TRUE)
    for (part in c("Cargo.toml", "src")) {
        file.copy(file.path(repository, "core", "tutti", part), core, recursive = TRUE)
    }
    # Its tests are not run from here, R gives LAPACK, and CUDA is for builds within the repository.
    tests <- list.files(file.path(core, "src"), "^tests\\.rs$", recursive = TRUE, full.names = TRUE)
    unlink(tests)
    writeLines(c(without(read(core, "Cargo.toml"), "^\\[(dev-dependencies|features)\\]"), features), file.path(core, "Cargo.toml"))
}

write_workspace <- function() {
    glue <- c(without(read(rust, "Cargo.toml"), "^\\[features\\]"), features)
    glue <- sub('path = "../../../core/tutti"', 'path = "core"', glue, fixed = TRUE)
    glue <- sub("^\\[lib\\]$", '[lib]\npath = "../src/lib.rs"', glue)
    stopifnot(any(grepl('path = "core"', glue, fixed = TRUE)), any(grepl('path = "../src', glue, fixed = TRUE)))
    shared <- read(repository, "Cargo.toml")
    shared <- shared[table_lines(shared, "^\\[(workspace|profile)")]
    shared <- grep("^(members|default-members|tutti|tutti-[a-z]+) = ", shared, value = TRUE, invert = TRUE)
    shared <- sub("^\\[workspace\\]$", '[workspace]\nmembers = ["core"]', shared)
    writeLines(c(glue, "", shared), file.path(standalone, "Cargo.toml"))
    file.copy(file.path(repository, "Cargo.lock"), standalone)
    # Drops from the lock what only other members of the repository need.
    cargo("update", "--quiet", "--workspace", "--offline", manifest_path)
}

# Features by "name version" of what some target builds.
needed_crates <- function() {
    of_target <- function(target) {
        cargo("tree", "--quiet", "--locked", manifest_path, "--workspace", "--target", target, "-e", "normal,build", "--prefix", "none", "--format", shQuote("{p}|{f}"))
    }
    lines <- unlist(lapply(targets, of_target))
    crates <- sub("^([^ ]+) v([^ |]+).*", "\\1 \\2", lines)
    features <- strsplit(sub("^[^|]*\\|([^ ]*).*", "\\1", lines), ",")
    lapply(split(features, crates), function(f) unique(unlist(f)))
}

crate_of <- function(folder) {
    lines <- read(folder, "Cargo.toml")
    package <- lines[table_lines(lines, "^\\[package\\]$")]
    value <- function(key) sub('.*"(.*)".*', "\\1", grep(paste0("^", key, " = "), package, value = TRUE)[[1]])
    paste(value("name"), value("version"))
}

# Files that the compiler does not open: modules behind cfg(test) or a feature that no target enables.
unread_modules <- function(sources, features) {
    placed <- grep("path = ", unlist(sources), value = TRUE, fixed = TRUE)
    of_file <- function(file) {
        lines <- sources[[file]]
        gate <- '^\\s*#\\[cfg\\((test|feature = "([^"]+)")\\)\\]\\s*$'
        module <- "^\\s*(pub(\\([a-z:]+\\))? )?mod ([A-Za-z0-9_]+);\\s*$"
        at <- which(grepl(gate, lines[-length(lines)]) & grepl(module, lines[-1]))
        at <- at[!sub(gate, "\\2", lines[at]) %in% features]
        names <- sub(module, "\\3", lines[at + 1])
        # Elsewhere it may stand open.
        once <- vapply(names, function(n) sum(grepl(paste0("\\bmod ", n, "\\b"), lines)) == 1 && !any(grepl(n, placed, fixed = TRUE)), NA)
        within <- if (basename(file) %in% c("lib.rs", "mod.rs", "main.rs")) dirname(file) else sub("\\.rs$", "", file)
        file.path(within, names[once])
    }
    modules <- unlist(lapply(names(sources), of_file))
    c(modules, paste0(modules, ".rs")[seq_along(modules)])
}

# Texts and data that no source names; licences stay.
unread_texts <- function(folder, sources) {
    files <- list.files(folder, "\\.(md|markdown|rst|txt|json|svg|png|css|html|orig|lock|yml|yaml|py|sh|wprp|tpl)$", recursive = TRUE, full.names = TRUE)
    legal <- grepl("^(licen[cs]e|unlicense|copying|copyright|notice|authors|patents)", basename(files), ignore.case = TRUE)
    # A build script that walks folders may read anything.
    script <- unlist(sources[basename(names(sources)) == "build.rs"])
    if (any(grepl("read_dir|glob|walk", script))) {
        return(character())
    }
    text <- paste(unlist(sources), collapse = "\n")
    files[!legal & !vapply(basename(files), grepl, NA, x = text, fixed = TRUE)]
}

# Crates that no target builds stay as names only, for the lock; of the others goes what no build reads.
prune <- function() {
    needed <- needed_crates()
    for (folder in list.dirs(vendor, recursive = FALSE)) {
        if (!crate_of(folder) %in% names(needed)) {
            drop <- setdiff(list.files(folder, recursive = TRUE, all.files = TRUE), c("Cargo.toml", ".cargo-checksum.json"))
            unlink(file.path(folder, drop))
            dir.create(file.path(folder, "src"), showWarnings = FALSE)
            file.create(file.path(folder, "src", "lib.rs"))
        } else {
            unused <- c("tests", "test", "benches", "examples", "test_data", "fuzz", ".github", if (basename(folder) == "lapack-sys") "lapack")
            unlink(file.path(folder, unused), recursive = TRUE)
            files <- list.files(folder, "\\.(rs|c|h|cc|cpp|hpp|hxx|S)$", recursive = TRUE, full.names = TRUE)
            sources <- stats::setNames(lapply(files, read), files)
            unlink(c(unread_modules(sources, needed[[crate_of(folder)]]), unread_texts(folder, sources)), recursive = TRUE)
        }
        # Without the list of files; the checksum of the whole stays, as the lock has it.
        checksum <- file.path(folder, ".cargo-checksum.json")
        writeLines(sub('"files":\\{[^}]*\\}', '"files":{}', read(checksum)), checksum)
    }
}

vendor_crates <- function() {
    config <- cargo("vendor", "--locked", manifest_path, vendor)
    writeLines(sub('directory = ".*"', 'directory = "@VENDOR@"', config), file.path(standalone, "vendor-config.toml"))
    prune()
    # The same bytes for the same crates.
    reproducible <- c("--sort=name", "--mtime=2026-01-01", "--owner=0", "--group=0", "--numeric-owner")
    reproducible <- if (Sys.info()[["sysname"]] == "Linux") reproducible
    status <- system2("tar", c(reproducible, "-C", standalone, "-cJf", file.path(standalone, "vendor.tar.xz"), "vendor"), env = "XZ_OPT=-9e")
    stopifnot(status == 0)
    unlink(vendor, recursive = TRUE)
}

unlink(standalone, recursive = TRUE)
copy_core()
write_workspace()
vendor_crates()
