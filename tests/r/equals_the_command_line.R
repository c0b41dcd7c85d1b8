# The R package and the command line give the same cells, the same embedding and the same file of a model, to the bit.
#
#     Rscript tests/r/equals_the_command_line.R target/debug/tutti     # R_LIBS with the package

library(tutti)
arguments <- commandArgs(trailingOnly = TRUE)
program <- normalizePath(if (length(arguments) > 0) arguments[[1]] else "target/debug/tutti", mustWork = TRUE)
folder <- tempfile("tutti")
dir.create(folder)
path <- function(name) file.path(folder, name)
tutti <- function(...) {
    status <- system2(program, c(...), stdout = FALSE)
    stopifnot(status == 0)
}
read_embedding <- function(file) {
    table <- utils::read.csv(path(file), row.names = 1, check.names = FALSE)
    as.matrix(table[vapply(table, is.numeric, NA)])
}
# Text of a single-precision number is read back as the same one.
single <- function(x) readBin(writeBin(as.vector(x), raw(), size = 4), "double", n = length(x), size = 4)

compare <- function(what, preset, batch, flags, settings, n.features = NULL) {
    tutti("simulate", "--preset", preset, "--n-cells", 600, "--n-genes", 300, "--seed", 4, "-o", path("cells.h5ad"), "--quiet")
    tutti("concord", path("cells.h5ad"), "--batch", batch, "--seed", 7, "-o", path("z.csv"), "--save-model", path("model"), "--quiet", flags)
    theirs <- read_embedding("z.csv")
    cells <- SimulateCells(preset, n_cells = 600, n_genes = 300, seed.use = 4, as = "list")
    given <- list(cells$measured, group.by = cells$obs[[batch]], seed.use = 7, n.features = n.features, verbose = FALSE)
    ours <- do.call(RunConcord, c(given, settings))
    stopifnot(identical(rownames(ours$embedding), rownames(theirs)), identical(single(ours$embedding), single(theirs)))
    SaveTutti(ours, path("ours"))
    bytes <- function(file) readBin(path(file), "raw", file.size(path(file)))
    stopifnot(identical(bytes("ours"), bytes("model")))
    cat(what, ": equal, ", length(theirs), " coordinates\n", sep = "")
}

compare("defaults, log-normalised values", "five_clusters_two_batches", "batch", c("--n-epochs", 3), list(n_epochs = 3))
compare(
    "counts, genes picked, neighbourhoods, decoder", "splatter", "batch", c("--n-epochs", 4, "--preset", "knn", "--hvg", 100, "--set", "use_decoder=true"),
    list(n_epochs = 4, preset = "knn", use_decoder = TRUE), n.features = 100
)
