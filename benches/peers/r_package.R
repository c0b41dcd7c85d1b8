# RunConcord on cells of `tutti simulate`, for r_package.py: prints speed and memory as JSON. Arguments: cells, genes, epochs, threads.
arguments <- as.numeric(commandArgs(trailingOnly = TRUE))
suppressPackageStartupMessages(library(tutti))
status <- function(key) as.numeric(gsub("\\D", "", grep(paste0("^", key), readLines("/proc/self/status"), value = TRUE))) / 1024
cells <- SimulateCells("ladder_10", n_cells = arguments[[1]], n_genes = arguments[[2]], seed.use = 1, layers = character(), as = "list")
invisible(gc())
# Making the cells may have taken more than training does.
writeLines("5", "/proc/self/clear_refs")
before <- status("VmRSS")
started <- proc.time()[["elapsed"]]
out <- RunConcord(cells$measured, group.by = cells$obs$batch, n_epochs = arguments[[3]], n.features = 0, seed.use = 1, threads = arguments[[4]], verbose = FALSE)
seconds <- proc.time()[["elapsed"]] - started
cat(sprintf('{"cells_per_second": %.1f, "call_seconds": %.2f, "above_mib": %.1f, "nnz": %d}\n', out$cells_per_second, seconds, status("VmHWM") - before, length(cells$measured@x)))
