# Makes the package self-contained, so that it builds from a source tarball without the rest of the repository and without a network: copies the
# core beside the glue, lists both in a workspace of their own, and vendors all crates. Rewrites files: run in a copy of r-package/, with
# TUTTI_REPOSITORY set to the repository if it is not the folder above. pkgbuild (devtools, pak, R-universe) runs it before R CMD build.

repository <- normalizePath(Sys.getenv("TUTTI_REPOSITORY", ".."))
rust <- file.path("src", "rust")
core <- file.path(rust, "core")
vendor <- file.path(rust, "vendor")
manifest_path <- c("--manifest-path", file.path(rust, "Cargo.toml"))

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
    unlink(core, recursive = TRUE)
    dir.create(core)
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
    stopifnot(any(grepl('path = "core"', glue, fixed = TRUE)))
    shared <- read(repository, "Cargo.toml")
    shared <- shared[table_lines(shared, "^\\[(workspace|profile)")]
    shared <- grep("^(members|default-members|tutti|tutti-[a-z]+) = ", shared, value = TRUE, invert = TRUE)
    shared <- sub("^\\[workspace\\]$", '[workspace]\nmembers = ["core"]', shared)
    writeLines(c(glue, "", shared), file.path(rust, "Cargo.toml"))
    file.copy(file.path(repository, "Cargo.lock"), rust, overwrite = TRUE)
    # Drops from the lock what only other members of the repository need.
    cargo("update", "--quiet", "--workspace", "--offline", manifest_path)
}

# "name version" of what some target builds.
needed_crates <- function() {
    of_target <- function(target) cargo("tree", "--quiet", "--locked", manifest_path, "--workspace", "--target", target, "-e", "normal,build", "--prefix", "none", "--format", "{p}")
    lines <- unlist(lapply(targets, of_target))
    unique(sub("^([^ ]+) v([^ ]+).*", "\\1 \\2", lines))
}

crate_of <- function(folder) {
    lines <- read(folder, "Cargo.toml")
    package <- lines[table_lines(lines, "^\\[package\\]$")]
    value <- function(key) sub('.*"(.*)".*', "\\1", grep(paste0("^", key, " = "), package, value = TRUE)[[1]])
    paste(value("name"), value("version"))
}

# Crates that no target builds stay as names only, for the lock; tests, documents and unused sources of the others go.
prune <- function() {
    needed <- needed_crates()
    for (folder in list.dirs(vendor, recursive = FALSE)) {
        if (!crate_of(folder) %in% needed) {
            drop <- setdiff(list.files(folder, recursive = TRUE, all.files = TRUE), c("Cargo.toml", ".cargo-checksum.json"))
            unlink(file.path(folder, drop))
            dir.create(file.path(folder, "src"), showWarnings = FALSE)
            file.create(file.path(folder, "src", "lib.rs"))
        } else {
            unused <- c("tests", "benches", "examples", "test_data", ".github", if (basename(folder) == "lapack-sys") "lapack")
            unlink(file.path(folder, unused), recursive = TRUE)
        }
        # Without the list of files; the checksum of the whole stays, as the lock has it.
        checksum <- file.path(folder, ".cargo-checksum.json")
        writeLines(sub('"files":\\{[^}]*\\}', '"files":{}', read(checksum)), checksum)
    }
}

vendor_crates <- function() {
    config <- cargo("vendor", "--locked", manifest_path, vendor)
    writeLines(sub('directory = ".*"', 'directory = "rust/vendor"', config), file.path(rust, "vendor-config.toml"))
    prune()
    # The same bytes for the same crates.
    reproducible <- c("--sort=name", "--mtime=2026-01-01", "--owner=0", "--group=0", "--numeric-owner")
    reproducible <- if (Sys.info()[["sysname"]] == "Linux") reproducible
    status <- system2("tar", c(reproducible, "-C", rust, "-cJf", file.path(rust, "vendor.tar.xz"), "vendor"), env = "XZ_OPT=-9")
    stopifnot(status == 0)
    unlink(vendor, recursive = TRUE)
}

copy_core()
write_workspace()
vendor_crates()
