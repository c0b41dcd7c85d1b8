# Training of any system, in slices of a fifth of a second: between them R shows progress and sees Ctrl-C.

# `system`: name of the Rust functions' prefix. Returns what rust_<system>_finish gives, and says why it ended early.
train_system <- function(system, input, options, verbose, call = rlang::caller_env()) {
    rust <- function(step) get(paste("rust", system, step, sep = "_"), envir = asNamespace("tutti"))
    started <- call_rust(rust("trainer"), input, options, .call = call)
    for (note in started$notes) {
        warn_tutti(note)
    }
    if (verbose) {
        inform(sprintf("Values: %s; genes: %s", started$value_kind, started$gene_selection), class = "tutti_message")
    }
    progress <- progress_bar(started$n_epochs, verbose)
    ended <- tryCatch(
        run_slices(started$pointer, rust("advance"), progress, call),
        interrupt = function(condition) "it was interrupted",
        tutti_error_non_finite = function(condition) conditionMessage(condition)
    )
    out <- call_rust(rust("finish"), started$pointer, .call = call)
    out$history <- as.data.frame(out$history)
    out$features <- started$features
    if (!is.null(ended)) {
        message <- sprintf("Training stopped after %d of %d epochs: %s. What was trained so far is kept.", nrow(out$history), started$n_epochs, ended)
        warn_tutti(message, "tutti_warning_stopped")
    }
    out
}

run_slices <- function(pointer, advance, progress, call) {
    on.exit(progress$done())
    repeat {
        slice <- call_rust(advance, pointer, 0.2, .call = call)
        progress$tell(slice)
        for (message in slice$messages) {
            warn_tutti(message)
        }
        if (!slice$running) {
            return(NULL)
        }
        # R looks at a pending Ctrl-C while it waits, and hardly ever else.
        Sys.sleep(0)
    }
}

# progressr where the user has registered handlers or wraps the call in with_progress(), else a bar of cli in a terminal, else nothing.
progress_bar <- function(n_epochs, verbose) {
    nothing <- list(tell = function(slice) NULL, done = function() NULL)
    if (!verbose) {
        return(nothing)
    }
    if (followed_by_progressr()) {
        step <- progressr::progressor(steps = n_epochs, auto_finish = FALSE, on_exit = FALSE)
        seen <- 0
        tell <- function(slice) {
            if (slice$epoch > seen) {
                step(amount = slice$epoch - seen, message = sprintf("loss %.4f", slice$loss))
                seen <<- slice$epoch
            }
        }
        return(list(tell = tell, done = function() step(type = "finish")))
    }
    if (!interactive() || !requireNamespace("cli", quietly = TRUE)) {
        return(nothing)
    }
    format <- "{cli::pb_bar} {cli::pb_percent} | epoch {cli::pb_extra$epoch} | loss {cli::pb_extra$loss} | {cli::pb_eta_str}"
    bar <- cli::cli_progress_bar("Training", total = 1000, format = format, extra = list(epoch = 1, loss = ""), .auto_close = FALSE)
    tell <- function(slice) {
        share <- (slice$epoch - 1 + slice$step / max(slice$n_steps, 1)) / slice$n_epochs
        cli::cli_progress_update(set = round(1000 * share), id = bar, extra = list(epoch = slice$epoch, loss = sprintf("%.4f", slice$loss)))
    }
    list(tell = tell, done = function() cli::cli_progress_done(id = bar))
}

followed_by_progressr <- function() {
    if (!requireNamespace("progressr", quietly = TRUE)) {
        return(FALSE)
    }
    is_wrapper <- function(n) identical(sys.function(n), progressr::with_progress)
    isTRUE(progressr::handlers(global = NA)) || any(vapply(seq_len(sys.nframe()), is_wrapper, NA))
}
