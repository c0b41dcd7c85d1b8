.onLoad <- function(libname, pkgname) {
    # Waiting threads that spin take processors from those that work.
    if (!nzchar(Sys.getenv("CANDLE_BARRIER_POOL_SPIN_LIMIT"))) {
        Sys.setenv(CANDLE_BARRIER_POOL_SPIN_LIMIT = "200")
    }
}
