# Arguments of R become what Rust takes here, so that a wrong one is named as the user wrote it.

check_count <- function(x, name = deparse(substitute(x)), least = 1, null = FALSE, call = rlang::caller_env()) {
    if (is.null(x) && null) {
        return(NULL)
    }
    if (!is.numeric(x) || length(x) != 1 || is.na(x) || x != round(x) || x < least || x > .Machine$integer.max) {
        abort_tutti("argument", sprintf("`%s` must be a whole number of %s or more, not %s.", name, least, said(x)), call)
    }
    as.numeric(x)
}

check_number <- function(x, name = deparse(substitute(x)), null = FALSE, call = rlang::caller_env()) {
    if (is.null(x) && null) {
        return(NULL)
    }
    if (!is.numeric(x) || length(x) != 1 || is.na(x)) {
        abort_tutti("argument", sprintf("`%s` must be a single number, not %s.", name, said(x)), call)
    }
    as.numeric(x)
}

check_share <- function(x, name = deparse(substitute(x)), call = rlang::caller_env()) {
    if (!is.numeric(x) || length(x) != 1 || is.na(x) || x < 0 || x > 1) {
        abort_tutti("argument", sprintf("`%s` must be a number from 0 to 1, not %s.", name, said(x)), call)
    }
    as.numeric(x)
}

check_string <- function(x, name = deparse(substitute(x)), null = FALSE, call = rlang::caller_env()) {
    if (is.null(x) && null) {
        return(NULL)
    }
    if (!is.character(x) || length(x) != 1 || is.na(x) || !nzchar(x)) {
        abort_tutti("argument", sprintf("`%s` must be a single string, not %s.", name, said(x)), call)
    }
    x
}

check_flag <- function(x, name = deparse(substitute(x)), call = rlang::caller_env()) {
    if (!is.logical(x) || length(x) != 1 || is.na(x)) {
        abort_tutti("argument", sprintf("`%s` must be TRUE or FALSE, not %s.", name, said(x)), call)
    }
    x
}

# A short word for a value in a message.
said <- function(x) {
    if (is.null(x)) {
        return("NULL")
    }
    if (is.atomic(x) && length(x) == 1) {
        return(if (is.character(x)) dQuote(x, FALSE) else format(x))
    }
    sprintf("%s of length %d", class(x)[[1]], length(x))
}

# Settings from `...`: all named, each once.
check_settings <- function(settings, call = rlang::caller_env()) {
    if (length(settings) == 0) {
        return(list())
    }
    names <- names(settings)
    if (is.null(names) || any(!nzchar(names))) {
        abort_tutti("argument", "all settings in `...` must be named, e.g. `latent_dim = 30`.", call)
    }
    if (anyDuplicated(names)) {
        abort_tutti("argument", sprintf("setting `%s` is given twice.", names[duplicated(names)][[1]]), call)
    }
    settings
}

tutti_threads <- function(threads = NULL, call = rlang::caller_env()) {
    threads <- if (is.null(threads)) getOption("tutti.threads") else threads
    if (is.null(threads)) {
        # CRAN's machines allow two.
        limited <- nzchar(Sys.getenv("_R_CHECK_LIMIT_CORES_")) && Sys.getenv("_R_CHECK_LIMIT_CORES_") != "false"
        return(if (limited) 2 else 0)
    }
    check_count(threads, "threads", call = call)
}
