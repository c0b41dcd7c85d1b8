# Small cells: the whole suite takes seconds.

# 80 cells, 230 genes, two groups, 20 variable features.
pbmc <- function() SeuratObject::pbmc_small

counts_of <- function(object = pbmc()) layer_data(object[["RNA"]], "counts")

groups_of <- function(object = pbmc()) stats::setNames(as.character(object$groups), colnames(object))

# A short training.
run <- function(object, ..., n_epochs = 2, latent_dim = 6, batch_size = 32) {
    RunConcord(object, ..., n_epochs = n_epochs, latent_dim = latent_dim, batch_size = batch_size, verbose = FALSE)
}

# The same with the arguments of the tests on matrices.
embed <- function(object = counts_of(), group.by = groups_of(), ...) run(object, group.by, ..., n.features = 0)$embedding

# Five clusters in two batches: a Seurat object, 40 cells per cluster, noise and batch effect as published.
five_clusters <- function(...) SimulateCells("five_clusters_two_batches", n_cells = 200, n_genes = 60, ...)

sce_of <- function(object = pbmc()) {
    testthat::skip_if_not_installed("SingleCellExperiment")
    SingleCellExperiment::SingleCellExperiment(list(counts = counts_of(object)), colData = S4Vectors::DataFrame(object[[]]))
}

# Coordinates without the names that each kind of object has of its own.
coordinates <- function(object, reduction = "concord") {
    x <- if (methods::is(object, "Seurat")) {
        SeuratObject::Embeddings(object, reduction)
    } else if (methods::is(object, "SingleCellExperiment")) {
        SingleCellExperiment::reducedDim(object, toupper(reduction))
    } else {
        object$embedding
    }
    unname(as.matrix(x))
}

# What an error says, with its class, for a snapshot that no version of testthat or rlang formats in its own way.
refusal <- function(code) {
    condition <- testthat::expect_error(code, class = "tutti_error")
    cat(setdiff(class(condition), c("tutti_error", "rlang_error", "error", "condition")), ": ", conditionMessage(condition), "\n", sep = "")
}

# Runs code while functions of the package are others.
with_internal <- function(functions, code) {
    namespace <- asNamespace("tutti")
    put <- function(values) {
        for (name in names(values)) {
            unlockBinding(name, namespace)
            assign(name, values[[name]], envir = namespace)
            lockBinding(name, namespace)
        }
    }
    before <- mget(names(functions), envir = namespace)
    on.exit(put(before))
    put(functions)
    force(code)
}
