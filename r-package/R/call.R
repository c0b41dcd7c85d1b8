# The one door to Rust: a failure comes back as a list of class tutti_failure and leaves as a condition that can be caught by its kind.
call_rust <- function(f, ..., .call = rlang::caller_env()) {
    out <- f(...)
    if (inherits(out, "tutti_failure")) {
        abort_tutti(out$kind, out$message, call = .call)
    }
    out
}

abort_tutti <- function(kind, message, call = rlang::caller_env()) {
    abort(message, class = c(paste0("tutti_error_", kind), "tutti_error"), call = call, use_cli_format = FALSE)
}

warn_tutti <- function(message, class = NULL) {
    warn(message, class = c(class, "tutti_warning"))
}
