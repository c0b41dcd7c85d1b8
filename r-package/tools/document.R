# Writes R/extendr-wrappers.R from the installed library, then NAMESPACE and man/. Run in r-package/: Rscript tools/document.R
wrappers <- function() {
    library <- getNamespaceInfo("tutti", "DLLs")$tutti
    text <- .Call(getNativeSymbolInfo("wrap__make_tutti_wrappers", library)$address, TRUE, "tutti")
    # The generator's own documentation tags would make NAMESPACE depend on it.
    lines <- grep("^#'|^NULL$|^#$", strsplit(text, "\n")[[1]], value = TRUE, invert = TRUE)
    lines <- sub("^# nolint (start|end)$", "", lines)
    c("# Written by tools/document.R: the functions of src/rust, one each.", lines[nzchar(lines)])
}
requireNamespace("tutti")
writeLines(wrappers(), "R/extendr-wrappers.R")
roxygen2::roxygenise(load_code = roxygen2::load_installed)
