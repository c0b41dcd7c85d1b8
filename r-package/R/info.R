#' What this build of tutti is
#'
#' For reports of defects.
#'
#' @return A list: versions of package, core, R and SeuratObject; target; whether it was compiled with optimisation; processors, threads and devices.
#' @examples
#' tutti_info()
#' @export
tutti_info <- function() {
    built <- rust_info()
    threads <- tutti_threads()
    info <- list(
        package = as.character(utils::packageVersion("tutti")),
        core = built$core,
        R = paste(R.version$major, R.version$minor, sep = "."),
        SeuratObject = as.character(utils::packageVersion("SeuratObject")),
        target = built$target,
        optimised = built$optimised,
        processors = built$processors,
        threads = if (threads == 0) built$processors else threads,
        devices = if (built$cuda) c("cpu", "cuda") else "cpu"
    )
    structure(info, class = "tutti_info")
}

#' @export
print.tutti_info <- function(x, ...) {
    cat(sprintf("%-13s %s\n", names(x), vapply(x, function(v) paste(v, collapse = ", "), "")), sep = "")
    invisible(x)
}
